"""Performs the loading of a configuration: reads every file, lays the environment over it, checks all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.config import checks, contracts, files
from pipeline.config.fragments import Shared, expand
from pipeline.config.models import Config, DestinationConfig, EnvFile, HooklineFile, JourneyConfig, SharedFile
from pipeline.config.overlay import MAIN_FILE, lay_over
from pipeline.config.section import Section, suggestion
from pipeline.config.shape import validate
from pipeline.errors import ConfigError
from pipeline.model import Problem

if TYPE_CHECKING:
    import pathlib

    from pipeline.config.places import Places
    from pipeline.config.secrets import Secrets

_S = TypeVar("_S", bound=Section)


def load(folder: pathlib.Path, env: str | None) -> Config:
    """Load the configuration in `folder` as it is in the environment `env`; None checks every environment.

    Needs no secret's value. Blocks on the file system. Raises ConfigError with all problems.
    """
    read = files.read(folder)
    config, problems = _Loading(read, folder).config(env)
    if problems or config is None:
        raise ConfigError(problems)
    return config


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

    def config(self, env: str | None) -> tuple[Config | None, tuple[Problem, ...]]:
        """Make the configuration for `env`; return it, or None, and the problems."""
        made: Config | None = None
        if MAIN_FILE in self.read.trees:
            overlays = self._overlays()
            if env is None:
                for name in overlays:
                    self._made(name, overlays[name])
                made = self._made(None, {})
            elif env in overlays:
                made = self._made(env, overlays[env])
            elif f"env/{env}.yaml" not in self.read.trees:
                self._no_such_env(env)
                self._made(None, {})
        problems = _ordered(self.problems)
        return (None if problems else made), problems

    def _overlays(self) -> dict[str, dict[Any, Any]]:
        """Check each env file by itself; return the trees of those that are mappings."""
        trees: dict[str, dict[Any, Any]] = {}
        for name, file, tree in self.read.of("env"):
            self._valid(EnvFile, tree, file, self.read.places)
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
        for name, file, tree in self.read.of("journeys"):
            expanded, problems = expand(tree, file, shared, places)
            self.problems.extend(problems)
            journeys[name] = self._named(JourneyConfig, name, expanded, file, places)
        self.problems.extend(checks.check(main, destinations, journeys, self.contracts, places))
        if self.problems or main is None:
            return None
        return Config.model_construct(
            **dict(main),
            folder=self.folder,
            env=env,
            mode="live",
            destinations=destinations,
            journeys=journeys,
            tables=shared.tables,
            contracts=self.contracts,
            places=places,
        )

    def _shared(self, places: Places) -> Shared:
        shared = Shared()
        for _, file, tree in self.read.of("shared"):
            made = self._valid(SharedFile, tree, file, places)
            self.problems.extend(shared.add(made, file, places))
        return shared

    def _valid(self, model: type[_S], tree: object, file: str, places: Places) -> _S | None:
        made, problems = validate(model, tree, file, places)
        self.problems.extend(problems)
        return made

    def _named(self, model: type[_S], name: str, tree: object, file: str, places: Places) -> _S | None:
        made = self._valid(model, tree, file, places)
        key = "journey" if model is JourneyConfig else "destination"
        if isinstance(tree, dict) and isinstance(tree.get(key), str) and tree[key] != name:
            self.problems.append(
                places.problem(file, (key,), "must equal the file name", f"write {name}, or rename it")
            )
            return None
        return made


def _ordered(problems: list[Problem]) -> tuple[Problem, ...]:
    """Order by place, each once: an overlay shows what it is laid over a second time."""
    unique = {(each.file, each.line, each.column, each.message): each for each in reversed(problems)}
    return tuple(sorted(unique.values(), key=lambda each: (each.file, each.line, each.column, each.field)))
