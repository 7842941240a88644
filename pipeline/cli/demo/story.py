"""Decides what happens in an example and what must come of it: `story.yaml`, scene after scene.

title: one line
about: a paragraph
scenes:
- scene: one line
trouble: {mail: {kind: down, for: 3s}}     # optional: a system's, from the scene's beginning
kill_worker: {with_code: retrying}         # optional: once that step has that outcome; another worker takes over
events:
- name: first                            # optional: `${first}` is this event's ID in later events
after: 500ms                           # optional: since the event before
event: {type: …, customer: {…}, …}     # as `hookline produce` takes it; `ago: 1m` sets its time
outcomes: {step: delivered, …}         # optional: all steps, exactly, `outcome` or `outcome(reason)`; `(*)` any
heard: {mail: [line, …]}                   # what the systems handled meanwhile, exactly, in any order
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML

from pipeline.config import units
from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pipeline.core.outcome import OutcomeRow

STORY: Final = "story.yaml"
_IDS: Final = uuid.UUID("1c2e8bb8-0f0b-5a2c-8f58-1d6a8f1d6b0e")
"""Namespace of the events' IDs: the same story has the same IDs each time."""


@value
class Trouble:
    """What befalls a system: `kind` down or slow."""

    system: str
    kind: str
    for_ms: int


@value
class Happening:
    """One event: `document` as JSON would have it, without `id` and `time`; `outcomes` None says nothing of them."""

    id: str
    after_ms: int
    ago_ms: int
    document: Mapping[str, Any]
    outcomes: Mapping[str, str] | None


@value
class Scene:
    """Some events, and what must come of them. `kill_worker` is (step, outcome) or None."""

    title: str
    troubles: tuple[Trouble, ...]
    kill_worker: tuple[str, str] | None
    events: tuple[Happening, ...]
    heard: Mapping[str, tuple[str, ...]]


@value
class Story:
    """An example."""

    name: str
    title: str
    about: str
    scenes: tuple[Scene, ...]


def read(folder: Path) -> Story:
    """Read an example's story; blocks on the file."""
    given = YAML(typ="safe").load(folder / STORY)
    names: dict[str, str] = {}
    scenes = tuple(_scene(folder.name, number, each, names) for number, each in enumerate(given["scenes"]))
    return Story(folder.name, given["title"], given["about"], scenes)


def _scene(story: str, number: int, given: Mapping[str, Any], names: dict[str, str]) -> Scene:
    troubles = tuple(
        Trouble(system, each["kind"], units.duration_ms(each["for"]))
        for system, each in given.get("trouble", {}).items()
    )
    kill = next(iter(given.get("kill_worker", {}).items()), None)
    events = []
    for at, each in enumerate(given["events"]):
        id_ = str(uuid.uuid5(_IDS, f"{story}/{number}/{at}"))
        if "name" in each:
            names[each["name"]] = id_
        document = dict(each["event"])
        ago = document.pop("ago", None)
        events.append(
            Happening(
                id_, _ms(each.get("after")), _ms(ago), _filled(document, names),
                each.get("outcomes"),
            )
        )  # fmt: skip
    heard = {system: tuple(said) for system, said in given.get("heard", {}).items()}
    return Scene(given["scene"], troubles, kill, tuple(events), heard)


def _ms(given: str | None) -> int:
    return 0 if given is None else units.duration_ms(given)


def _filled(given: Any, names: Mapping[str, str]) -> Any:
    if isinstance(given, dict):
        return {key: _filled(part, names) for key, part in given.items()}
    if isinstance(given, list):
        return [_filled(part, names) for part in given]
    if isinstance(given, str) and given.startswith("${"):
        return names[given[2:-1]]
    return given


def said(row: OutcomeRow) -> str:
    """Return an outcome as a story writes it."""
    return f"{row.outcome}({row.reason})" if row.reason else str(row.outcome)


def differences(happening: Happening, found: Mapping[str, str]) -> tuple[str, ...]:
    """Return one line for each step that ended otherwise than told."""
    told = happening.outcomes or {}
    return tuple(
        f"{step}: told {told.get(step, 'nothing')}, was {found.get(step, 'nothing')}"
        for step in (*told, *(each for each in found if each not in told))
        if not _same(told.get(step, ""), found.get(step, ""))
    )


def _same(told: str, found: str) -> bool:
    outcome, star, _ = told.partition("(*)")
    return found.partition("(")[0] == outcome if star else found == told


def unheard(scene: Scene, system: str, lines: Iterable[str]) -> tuple[str, ...]:
    """Return one line for each thing a system handled and should not have, or the other way round."""
    left = list(scene.heard.get(system, ()))
    wrong = []
    for line in lines:
        if line in left:
            left.remove(line)
        else:
            wrong.append(f"{system} handled, though not told: {line}")
    return (*wrong, *(f"{system} did not handle: {line}" for line in left))
