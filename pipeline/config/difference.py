"""Decides what one configuration does that another does not: objects, keys, what is sent where, limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.config import remember, topics
from pipeline.config.policy import HooklineFile
from pipeline.config.section import Section
from pipeline.config.sent import Sent, sending
from pipeline.model import value

if TYPE_CHECKING:
    from pipeline.config.models import Config

LIMITS: Final = frozenset(("limits", "breaker", "retry", "timeout", "max_age", "rollout", "holdout", "caps", "budget"))
"""Keys that say how much and how long."""
SHOWN_CHARS_MAX: Final = 200
"""How much of a value is shown."""
DEFAULT: Final = "(default)"
_OPEN: Final = frozenset(("payload", "default", "mark"))


@value
class Side:
    """One of two configurations: read, as it is written (parsed YAML by file), and what it sends."""

    config: Config
    trees: Mapping[str, object]
    sent: tuple[Sent, ...]


@value
class Change:
    """One key that differs. `before` or `after` is None where there was or is nothing."""

    path: str
    before: str | None
    after: str | None


@value
class Kind:
    """What became of the objects of one kind, by name."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[Change, ...]]


@value
class NewlySent:
    """A value that was not sent in this field before. `is_flagged`: personal data new to its destination."""

    sent: Sent
    is_flagged: bool


@value
class Difference:
    """All that differs. `limits` are by object, `journeys/NAME` or `destinations/NAME`."""

    journeys: Kind
    destinations: Kind
    hookline: tuple[Change, ...]
    contracts: Kind
    tables: Kind
    newly_sent: tuple[NewlySent, ...]
    no_longer_sent: tuple[Sent, ...]
    limits: Mapping[str, tuple[Change, ...]]
    affected: tuple[str, ...]
    topics_needed: tuple[str, ...] = ()  # of the group's own, that `old` did without
    copies: tuple[str, str] = (
        "",
        "",
    )  # where events are copied to under their customers' IDs, before and after; "" nowhere

    @property
    def is_flagged(self) -> bool:
        """Whether personal data goes to a destination that did not get it."""
        return any(each.is_flagged for each in self.newly_sent)


def difference(old: Side, new: Side) -> Difference:
    """Return what `new` does that `old` does not."""
    journeys = _kind("journeys", old, new, old.config.journeys, new.config.journeys)
    destinations = _kind("destinations", old, new, old.config.destinations, new.config.destinations)
    before, after = (sending(each.sent, each.config.journeys) for each in (old, new))
    known = {(each.destination, each.source) for each in before}
    fields = {(each.journey, each.step, each.call, each.field, each.source) for each in before}
    newly = tuple(
        NewlySent(each, is_flagged=each.is_personal and (each.destination, each.source) not in known)
        for each in after
        if (each.journey, each.step, each.call, each.field, each.source) not in fields
    )
    still = {(each.destination, each.source) for each in after}
    return Difference(
        journeys=journeys,
        destinations=destinations,
        hookline=_changes("hookline.yaml", old, new, _Main(old.config), _Main(new.config)),
        contracts=_named({name: each.schema for name, each in old.config.contracts.items()},
                         {name: each.schema for name, each in new.config.contracts.items()}),
        tables=_named(old.config.tables, new.config.tables),
        newly_sent=newly,
        no_longer_sent=tuple(each for each in before if (each.destination, each.source) not in still),
        limits={
            name: limits
            for kind, found in (("journeys", journeys), ("destinations", destinations))
            for each, changes in found.changed.items()
            if (limits := tuple(change for change in changes if LIMITS & set(change.path.split("."))))
            for name in (f"{kind}/{each}",)
        },
        affected=_affected(old.config, new.config, journeys, destinations),
        topics_needed=tuple(each for each in topics.own(new.config) if each not in topics.own(old.config)),
        copies=(_copies(old.config), _copies(new.config)),
    )  # fmt: skip


def _copies(config: Config) -> str:
    return topics.events(config.group) if remember.rekeyed(config) else ""


def _affected(old: Config, new: Config, journeys: Kind, destinations: Kind) -> tuple[str, ...]:
    """Return the destinations that get other requests, or get them otherwise."""
    found = {*destinations.added, *destinations.removed, *destinations.changed}
    for config, names in ((new, journeys.added), (old, journeys.removed)):
        found |= {_destination(step.call) for name in names for step in config.journeys[name].steps}
    for name, changes in journeys.changed.items():
        steps = {change.path.split(".")[1] for change in changes if change.path.startswith("steps.")}
        whole = any(not change.path.startswith("steps.") for change in changes)
        for config in (old, new):
            found |= {_destination(step.call) for step in config.journeys[name].steps if whole or step.name in steps}
    return tuple(sorted(found - {""}))


def _destination(call: str | None) -> str:
    return (call or "").partition(".")[0]


def _kind(folder: str, old: Side, new: Side, before: Mapping[str, Section], after: Mapping[str, Section]) -> Kind:
    changed = {}
    for name in before.keys() & after.keys():
        found = _changes(f"{folder}/{name}.yaml", old, new, before[name], after[name])
        if found:
            changed[name] = found
    return Kind(
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
        dict(sorted(changed.items())),
    )


def _named(before: Mapping[str, object], after: Mapping[str, object]) -> Kind:
    """Compare what has no keys worth showing: contracts, tables."""
    changed = {name: (Change("", None, None),) for name in before.keys() & after.keys() if before[name] != after[name]}
    return Kind(
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
        dict(sorted(changed.items())),
    )


class _Main:
    """The keys of hookline.yaml that a whole configuration has."""

    def __init__(self, config: Config) -> None:
        self.config = config


def _changes(file: str, old: Side, new: Side, before: object, after: object) -> tuple[Change, ...]:
    """Return the keys that differ; a part with all below it is one change where it is new or gone."""
    was = {path: (content, shown) for path, content, shown in _leaves(before, old.trees.get(file), ())}
    now = {path: (content, shown) for path, content, shown in _leaves(after, new.trees.get(file), ())}
    found: dict[tuple[str, ...], Change] = {}
    for path in [*now, *(each for each in was if each not in now)]:
        if path in was and path in now and was[path][0] == now[path][0]:
            continue
        part = _part(path)
        if part != path and not any(each[: len(part)] == part for each in was):
            found.setdefault(part, Change(".".join(part), None, "added"))
        elif part != path and not any(each[: len(part)] == part for each in now):
            found.setdefault(part, Change(".".join(part), "removed", None))
        else:
            found[path] = Change(".".join(path), _shown(was, path), _shown(now, path))
    return tuple(found.values())


def _part(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the path of the step, operation or mapping a key belongs to, else the path itself."""
    return path[:2] if path[0] in ("steps", "operations", "events") and len(path) > 1 else path


def _shown(side: Mapping[tuple[str, ...], tuple[object, str | None]], path: tuple[str, ...]) -> str | None:
    return side[path][1] if path in side else None


def _leaves(node: object, tree: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object, str | None]]:
    """Yield each key that has a value: its path, the value as it is compared, and as it is shown."""
    if isinstance(node, _Main):
        for name, field in HooklineFile.model_fields.items():
            key = field.alias or name
            yield from _leaves(getattr(node.config, name), _below(tree, key), (*path, key))
    elif isinstance(node, Section):
        for name, field in type(node).model_fields.items():
            key = field.alias or name
            yield from _leaves(getattr(node, name), _below(tree, key), (*path, key))
    elif isinstance(node, Mapping) and node:
        for key, part in node.items():
            yield from _leaves(part, _below(tree, key), (*path, str(key)))
    elif isinstance(node, tuple) and node and all(isinstance(each, Section) for each in node):
        for at, part in enumerate(node):
            name = getattr(part, "name", None) or getattr(part, "record", None) or str(at)
            yield from _leaves(part, _below(tree, at), (*path, str(name)))
    elif node is not None and node not in ((), {}):
        yield path, node, _written(node, tree, path)


def _below(tree: object, key: str | int) -> object:
    if isinstance(tree, dict):
        return tree.get(key)
    if isinstance(tree, list) and isinstance(key, int) and key < len(tree):
        return tree[key]
    return None


def _written(node: Any, tree: object, path: tuple[str, ...]) -> str:
    """Return a value as its author wrote it; what comes of a fragment as it is; else that it is the default."""
    if tree is None:
        if not _OPEN & set(path):
            return DEFAULT
        tree = node
    text = tree if isinstance(tree, str) else orjson.dumps(tree, default=str).decode()
    return text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"
