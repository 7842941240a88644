"""Draws configurations: graphs of steps of every kind, gates, memory, batches, limits and breakers, one of each number.

What is drawn is YAML as a user writes it and goes through the same checks: what those refuse is drawn again.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.config.load import load
from pipeline.errors import Bug, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.models import Config

DRAWS_MAX: Final = 200
"""Draws for one number: some are refused, such as a step that needs another one to end in two ways."""
STEPS_MAX: Final = 6
JOURNEYS_MAX: Final = 4
CUSTOMERS: Final = 8
KEYS: Final = 3
TYPES: Final = ("cart.abandoned", "signup.completed", "purchase.completed", "ticket.closed")
ERASED: Final = "customer.erased"
CODE: Final = "none"
"""What a default answers; systems never do."""
THRESHOLDS: Final = (0, 0, 20, 60)
"""Of a trigger's condition: events have values from 0 to 99."""

_PER_KEY: Final = "event.properties.key == trigger.properties.key"
_RESPONSE: Final = {"code": {"at": "/code", "type": "string", "class": "public"}}


def draw(number: int) -> Config:
    """Return the configuration of a number: always the same. Writes it to a folder that is gone afterwards."""
    for attempt in range(DRAWS_MAX):
        chance = random.Random(f"{number}/{attempt}")  # noqa: S311 - repeatable on purpose
        try:
            return _loaded(_files(chance))
        except ConfigError:
            continue
    raise Bug(f"no configuration of number {number} in {DRAWS_MAX} draws")


def _loaded(files: Mapping[str, Any]) -> Config:
    with tempfile.TemporaryDirectory(prefix="hookline-simulate-") as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))  # JSON is YAML
        return load(Path(folder), None)


def _files(chance: random.Random) -> dict[str, Any]:
    files = {"hookline.yaml": _main(chance)}
    for name, operation in _OPERATIONS.items():
        files[f"destinations/{name}.yaml"] = _destination(chance, name, operation)
    for index in range(chance.randint(2, JOURNEYS_MAX)):
        name = f"j{index + 1}"
        files[f"journeys/{name}.yaml"] = _journey(chance, name)
    return files


def _main(chance: random.Random) -> dict[str, Any]:
    main: dict[str, Any] = {
        "group": "sim",
        "kafka": {"bootstrap": "env:KAFKA_BOOTSTRAP"},
        "retry_tiers": chance.choice([["1s", "5s", "30s"], ["2s", "10s", "1m"], ["1s", "20s"], ["5s"]]),
        "events": [{"topic": "sim.events", "record": "hookline.LifecycleEvent"}],
        "classes": {"properties.key": "identifier", "properties.value": "public"},
        "purposes": ["marketing"],
        "consent": {"table_lag_max": chance.choice(["2s", "10s"]), "skew": chance.choice(["1s", "5s"])},
    }
    if chance.random() < 0.7:  # noqa: PLR2004
        main["caps"] = [
            {"category": "promotional", "channel": "email", "max": chance.randint(1, 3), "per": "1h"},
        ]
    if chance.random() < 0.2:  # noqa: PLR2004 - the simulation begins at ten
        over = chance.choice(["10:01", "10:03"])
        main["quiet_hours"] = [
            {"channels": ["email"], "from": "08:00", "to": over, "zone": "${event.customer.timezone}",
             "zone_absent": "Etc/UTC", "then": chance.choice(["hold", "skip"])}
        ]  # fmt: skip
    return main


# ------------------------------------------------------------------------------------------------------ destinations

_OPERATIONS: Final[dict[str, dict[str, Any]]] = {
    "shop": {"advise": {"path": "/advise", "response": _RESPONSE}},
    "mail": {"send": {"path": "/send"}},
    "crm": {"put": {"path": "/put"}, "note": {"path": "/note"}},
    "lake": {"collect": {"path": "/collect", "metadata": "headers_and_body"}},
}


def _destination(chance: random.Random, name: str, operations: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "destination": name,
        "owner": "sim@shop.example",
        "base_url": f"https://{name}.example",
        "receives": ["identifier"],
        "idempotency": chance.choice(["delivery_id", "delivery_id", "none"]),
        "timeout": chance.choice(["1s", "2s", "5s"]),
        "limits": {"queue": chance.choice([1, 3, 20, 1_000])},
        "retry": {"max_attempts": chance.randint(2, 8)},
        "operations": operations,
    }
    if chance.random() < 0.6:  # noqa: PLR2004
        made["limits"]["concurrency"] = chance.choice([1, 2, 8])
    if chance.random() < 0.3:  # noqa: PLR2004
        made["limits"]["rate"] = chance.choice(["2/s", "20/s"])
    if chance.random() < 0.6:  # noqa: PLR2004
        made["breaker"] = {"failures": "50%", "of": chance.choice([2, 5, 20]), "open": "1s",
                           "open_max": chance.choice(["2s", "30s"])}  # fmt: skip
    if name == "lake":
        batch = {
            "max_events": chance.choice([2, 5, 100]),
            "max_bytes": "64KiB",
            "max_wait": chance.choice(["1s", "3s"]),
        }
        made["operations"] = {"collect": {**operations["collect"], "batch": batch}}
    return made


# ---------------------------------------------------------------------------------------------------------- journeys


def _journey(chance: random.Random, name: str) -> dict[str, Any]:
    basis = chance.choice(["consent", "consent", "contract", "legitimate_interest"])
    types = chance.sample(TYPES, chance.randint(1, 2))
    if chance.random() < 0.1:  # noqa: PLR2004
        types, basis = [ERASED], "legal_obligation"
    trigger: dict[str, Any] = {"events": types, "max_age": chance.choice(["20m", "1h", "2h"])}
    threshold = chance.choice(THRESHOLDS)
    if threshold:
        trigger["when"] = f"event.properties.value >= {threshold}"
    if chance.random() < 0.3:  # noqa: PLR2004
        trigger["once"] = {"key": "${event.properties.key}", "per": "30d"}
    made: dict[str, Any] = {
        "journey": name,
        "status": "live" if chance.random() < 0.95 else "shadow",  # noqa: PLR2004
        "owner": "sim@shop.example",
        "goal": "Be simulated",
        "category": chance.choice(["promotional", "promotional", "service"]),
        "basis": basis,
        "trigger": trigger,
    }
    if basis in ("consent", "legitimate_interest"):
        made["purpose"] = "marketing"
    if types != [ERASED] and chance.random() < 0.4:  # noqa: PLR2004
        made["cancel_on"] = [{"event": chance.choice(TYPES[2:])}]
        if chance.random() < 0.7:  # noqa: PLR2004
            made["cancel_on"][0]["match"] = _PER_KEY
    made["steps"] = _steps(chance)
    if chance.random() < 0.3:  # noqa: PLR2004
        made["ordering"] = "key"
    return made


def _steps(chance: random.Random) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for index in range(chance.randint(1, STEPS_MAX)):
        step = _step(chance, f"s{index + 1}")
        possible = [each for each in steps if each.get("kind") != "record"]
        if possible and chance.random() < 0.8:  # noqa: PLR2004
            parents = chance.sample(possible, min(len(possible), chance.choice([1, 1, 2])))
            step["after"] = {each["step"]: _edge(chance, each) for each in parents}
            if len(parents) > 1 and chance.random() < 0.4:  # noqa: PLR2004
                step["join"] = "any"
        steps.append(step)
        if "payload" in step:
            for each in _before(steps, step):
                if each.get("call") == "shop.advise":
                    step["payload"][f"{each['step']}?"] = f"${{steps.{each['step']}.response.code}}"
    return steps


def _step(chance: random.Random, name: str) -> dict[str, Any]:
    kind = chance.choice(["decide", "enrich", "enrich", "update", "update", "update", "record", "mark"])
    if kind == "mark":
        return {"step": name, "mark": _mark(chance)}
    call = {
        "decide": "shop.advise", "enrich": "shop.advise", "record": chance.choice(["crm.note", "lake.collect"]),
        "update": chance.choice(["mail.send", "mail.send", "crm.put", "lake.collect"]),
    }[kind]  # fmt: skip
    step: dict[str, Any] = {
        "step": name, "call": call, "kind": kind,
        "payload": {"customer": "${event.customer.id}", "event": "${event.id}"},
    }  # fmt: skip
    if call == "mail.send":
        step["reaches"] = "email"
    if kind == "decide":
        step["budget"] = chance.choice(["300ms", "1s", "3s"])
    if kind == "decide" or (kind == "enrich" and chance.random() < 0.5):  # noqa: PLR2004
        step["default"] = {"code": CODE}
    if chance.random() < 0.15:  # noqa: PLR2004
        step["when"] = "event.properties.value < 50"
    if chance.random() < 0.1:  # noqa: PLR2004
        step["max_age"] = "10m"
    return step


def _edge(chance: random.Random, parent: dict[str, Any]) -> list[str]:
    goes_on = ["delivered", "defaulted"] if parent.get("kind") == "decide" or "default" in parent else ["delivered"]
    possible = ["delivered", "dead", "skipped"]
    if parent.get("kind") in ("update", "enrich"):
        possible += ["retrying"]
        possible += ["defaulted"] if "default" in parent else ["rejected"]
    if parent.get("kind") == "decide":
        possible += ["defaulted"]
    return goes_on if chance.random() < 0.6 else chance.sample(possible, chance.randint(1, 3))  # noqa: PLR2004


def _before(steps: list[dict[str, Any]], step: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps a step comes after, directly or not."""
    names = set(step.get("after", {}))
    for each in reversed(steps):
        if each["step"] in names:
            names |= each.get("after", {}).keys()
    return [each for each in steps if each["step"] in names]


def _mark(chance: random.Random) -> dict[str, Any]:
    kind = chance.choice(["suppress", "suppress", "unsuppress", "consent"])
    if kind == "unsuppress":
        return {"unsuppress": {"id": "reason:${event.properties.key}"}}
    if kind == "consent":
        return {"consent": {"channel": "email", "state": chance.choice(["granted", "denied"])}}
    made: dict[str, Any] = {"id": "reason:${event.properties.key}", "at_most": chance.choice(["30s", "5m", "2h"])}
    made |= chance.choice([{"category": "promotional"}, {"channel": "email"}, {"journey": "j1"}])
    if chance.random() < 0.5:  # noqa: PLR2004
        made["until"] = {"event": "ticket.closed", "match": _PER_KEY}
    return {"suppress": made}
