"""Performs the loading of a configuration: reads every file, lays the environment over it, checks all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.config import cases, checks, contracts, exposed, files, salvage
from pipeline.config.cases import CaseFile
from pipeline.config.fragments import Shared, expand
from pipeline.config.garbage import kept
from pipeline.config.graph import NEVER_ENDS
from pipeline.config.models import Config, DestinationConfig, EnvFile, HooklineFile, JourneyConfig, SharedFile
from pipeline.config.overlay import MAIN_FILE, lay_over
from pipeline.config.section import Section, suggestion
from pipeline.config.shape import mended, validate
from pipeline.errors import ConfigError
from pipeline.model import Problem

if TYPE_CHECKING:
    import pathlib

    from pipeline.config.places import Places
    from pipeline.config.secrets import Secrets

_S = TypeVar("_S", bound=Section)


@kept()
def load(folder: pathlib.Path, env: str | None) -> Config:
    """Load the configuration in `folder` as it is in the environment `env`; None checks every environment.

    Needs no secret's value. Blocks on the file system. Raises ConfigError with all problems.
    """
    read = files.read(folder)
    config, problems = _Loading(read, folder).config(env)
    if problems or config is None:
        raise ConfigError(problems)
    return config


@kept()
def examine(folder: pathlib.Path, env: str | None) -> tuple[Config | None, tuple[Problem, ...]]:
    """Load as `load` does, and return all problems with what can still be compiled; see config.salvage.

    With problems the configuration is fit for one thing, to find more of them; it is None if not even for that.
    Blocks on the file system; raises nothing.
    """
    loading = _Loading(files.read(folder), folder)
    problems = loading.config(env)[1]
    return loading.made, problems


def kafka_settings(config: Config, secrets: Secrets) -> dict[str, str]:
    """Return librdkafka's settings: `bootstrap.servers` and what is passed through, references resolved.

    A setting that ends in `.location` wants a path: `file:PATH` becomes an absolute one. For all others it is the
    file's content. Blocks on files. Raises ConfigError naming every reference without a value.
    """
    settings: dict[str, str] = {}
    problems: list[Problem] = []
    for key, given in (("bootstrap", config.kafka.bootstrap), *config.kafka.settings.items()):
        name = "bootstrap.servers" if key == "bootstrap" else key
        try:
            if given.startswith("file:") and key.endswith(".location"):
                settings[name] = str(secrets.path(given))
            else:
                settings[name] = secrets.get(given) if given.startswith("file:") else secrets.text(given)
        except ConfigError as error:
            problems += (
                config.problem(MAIN_FILE, ("kafka", key), f"{each.field} {each.message}", each.hint)
                for each in error.problems
            )
    if problems:
        raise ConfigError(tuple(problems))
    return settings


class _Loading:
    """The loading of one folder; collects problems on the way."""

    def __init__(self, read: files.Folder, folder: pathlib.Path) -> None:
        self.read = read
        self.folder = folder
        self.contracts, problems = contracts.read(folder)
        self.problems: list[Problem] = [*read.problems, *problems]
        self.mended: set[str] = set()  # files with problems of their own
        self.envs: dict[str, EnvFile] = {}
        self.made: Config | None = None  # also with problems: what is left

    def config(self, env: str | None) -> tuple[Config | None, tuple[Problem, ...]]:
        """Make the configuration for `env`; return it, or None, and the problems."""
        if MAIN_FILE in self.read.trees:
            overlays = self._overlays()
            if env is None:
                for name in overlays:
                    self._made(name, overlays[name])
            elif f"env/{env}.yaml" not in self.read.trees:
                self._no_such_env(env)
            known = env if env in overlays else None
            self.made = self._made(known, overlays.get(known or "", {}))
        problems = _ordered([*self._exposed(), *self.problems])
        return (None if problems else self.made), problems

    def _exposed(self) -> list[Problem]:
        """Return secrets that someone typed, where nothing was said of the place yet."""
        said = {(each.file, each.line, each.column) for each in self.problems}
        found = exposed.problems(self.read.trees, self.read.places)
        return [each for each in found if (each.file, each.line, each.column) not in said]

    def _overlays(self) -> dict[str, dict[Any, Any]]:
        """Check each env file by itself; return the trees of those that are mappings."""
        trees: dict[str, dict[Any, Any]] = {}
        for name, file, tree in self.read.of("env"):
            made = self._valid(EnvFile, tree, file, self.read.places)
            if made is not None:
                self.envs[name] = made
                self.problems.extend(checks.sink(made, file, self.read.places))
            if isinstance(tree, dict):
                trees[name] = tree
        return trees

    def _no_such_env(self, env: str) -> None:
        known = [name for name, _, _ in self.read.of("env")]
        hint = suggestion(env, known) or "there are: " + (", ".join(known) or "none")
        self.problems.append(Problem(f"env/{env}.yaml", 0, 0, "", "there is no such environment", hint))

    def _made(self, env: str | None, overlay: dict[Any, Any]) -> Config | None:
        """Make the configuration with one overlay (or none, {}) laid over it."""
        places = self.read.places.copy()
        trees, problems = lay_over(self.read.trees, overlay, f"env/{env}.yaml", places)
        self.problems.extend(problems)
        main = self._valid(HooklineFile, trees[MAIN_FILE], MAIN_FILE, places)
        shared = self._shared(places)
        destinations = {
            name: self._named(DestinationConfig, name, trees[file], file, places)
            for name, file, _ in self.read.of("destinations")
        }
        journeys: dict[str, JourneyConfig | None] = {}
        written: dict[str, object] = {}
        for name, file, tree in self.read.of("journeys"):
            expanded, problems = expand(tree, file, shared, places)
            self.problems.extend(problems)
            written[name] = expanded
            journeys[name] = self._named(JourneyConfig, name, expanded, file, places)
        found = checks.check(main, destinations, journeys, self.contracts, places, shared.tables)
        # A step of a file that was mended may end otherwise than it was meant to.
        self.problems.extend(each for each in found if each.file not in self.mended or NEVER_ENDS not in each.message)
        played = self._cases(journeys, places)
        if main is None:
            return None
        own = self.envs.get(env or "")
        journeys_left = salvage.journeys(journeys, shared)
        destinations_left = salvage.destinations(destinations, journeys_left)
        return Config.model_construct(
            **dict(main),
            folder=self.folder,
            env=env,
            mode=own.mode if own is not None else "live",
            sink=own.sink if own is not None else None,
            overlaid=own.destinations if own is not None else {},
            destinations=destinations_left,
            journeys=journeys_left,
            written=written,
            tables=shared.tables,
            cases={name: each for name, each in played.items() if each is not None and each.journey in journeys_left},
            contracts=salvage.contracts(self.contracts, destinations_left),
            places=places,
        )

    def _cases(self, journeys: dict[str, JourneyConfig | None], places: Places) -> dict[str, CaseFile | None]:
        made: dict[str, CaseFile | None] = {}
        for name, file, tree in self.read.of("tests"):
            made[name], problems = validate(CaseFile, tree, file, places)
            self.problems.extend(problems)
            self.problems.extend(cases.check(name, made[name], tree, journeys, places))
        return made

    def _shared(self, places: Places) -> Shared:
        shared = Shared()
        for _, file, tree in self.read.of("shared"):
            made = self._valid(SharedFile, tree, file, places)
            self.problems.extend(shared.add(made, file, places))
        return shared

    def _valid(self, model: type[_S], tree: object, file: str, places: Places) -> _S | None:
        made, problems = validate(model, tree, file, places)
        self.problems.extend(problems)
        if made is None:
            made = mended(model, tree, file, places)
            self.mended.add(file)
        return made

    def _named(self, model: type[_S], name: str, tree: object, file: str, places: Places) -> _S | None:
        made = self._valid(model, tree, file, places)
        key = "journey" if model is JourneyConfig else "destination"
        if isinstance(tree, dict) and isinstance(tree.get(key), str) and tree[key] != name:
            self.problems.append(
                places.problem(file, (key,), "must equal the file name", f"write {name}, or rename it")
            )
            return None if made is None else made.model_copy(update={"name": name})
        return made


def _ordered(problems: list[Problem]) -> tuple[Problem, ...]:
    """Order by place, each once: an overlay shows what it is laid over a second time."""
    unique = {(each.file, each.line, each.column, each.message): each for each in reversed(problems)}
    return tuple(sorted(unique.values(), key=lambda each: (each.file, each.line, each.column, each.field)))
