"""Makes files to begin with: a journey and a destination that are valid as they are, with the choices beside them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.operation import Operation

SAMPLES_MAX: Final = 50
"""Keys of a contract that are written into a payload."""

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9@.,_-]*( [A-Za-z0-9@.,_-]+)*", re.ASCII)
_WORDS: Final = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
_JOURNEY: Final = """\
journey: {name}
status: draft                 # draft (never runs) or live
owner: {owner}
goal: {goal}
category: service             # promotional, service or operational
basis: contract               # contract, consent, legitimate_interest (these two with a `purpose`) or legal_obligation
trigger:
  events: [{event}]
  # when: event.properties.order_value > 20.0
  max_age: 1d                 # older events end skipped(stale); also the limit of every retry
steps:
  - step: first
    call: {call}
    kind: update              # update changes another system; record is a log and never delays anything
    # reaches: email          # if the customer is contacted by it
"""
_DESTINATION: Final = """\
destination: {name}
owner: {owner}
base_url: https://{host}.example      # or env:NAME
receives: []                  # classes of personal data it may be sent: identifier, contact, free_text
# auth: {{bearer: {{token: env:{variable}_TOKEN}}}}
idempotency: delivery_id      # does it drop a repeat? delivery_id (by `webhook-id`), header:NAME or none
timeout: 10s
# limits: {{rate: 10/s}}
operations:
  send:
    path: /{name}
    # request_schema: contracts/{name}.send.request.json
"""
_CASES: Final = """\
journey: {name}
event:                        # what all cases begin with; nobody real: addresses under example.com
  type: {event}
  time: 2026-01-05T10:00:00Z
  customer: {{id: c-1, email: ann@example.com}}
cases:
  - case: it is sent
    expect:
      outcomes: {{first: delivered}}
  - case: the destination refuses it
    answers: {{first: {{status: 422}}}}
    expect:
      outcomes: {{first: rejected}}
  - case: the event is too old
    now: 2026-01-07T10:00:00Z
    expect:
      outcomes: {{first: skipped(stale)}}
"""


def journey(name: str, owner: str, goal: str, event: str, call: str, operation: Operation, contract: Any) -> str:
    """Return a journey of one step that calls `operation`; `contract` is its request's JSON Schema, or None."""
    head = _JOURNEY.format(name=name, owner=_text(owner), goal=_text(goal), event=event, call=call)
    payload = _payload(operation, contract)
    if not payload:
        return head
    lines = [f"      {key}: {part}" for key, part in payload.items()]
    return (
        "\n".join(
            [head.rstrip("\n"), "    payload:                  # plain YAML is a literal, ${CEL} a value", *lines]
        )
        + "\n"
    )


def destination(name: str, owner: str) -> str:
    """Return a destination with one operation, `send`."""
    host = name.replace("_", "-")
    return _DESTINATION.format(name=name, owner=_text(owner), host=host, variable=name.upper())


def cases(name: str, event: str) -> str:
    """Return a file of test cases for the journey that `journey` makes."""
    return _CASES.format(name=name, event=event)


def _payload(operation: Operation, contract: Any) -> dict[str, str]:
    """Return the payload's keys and values, as they are written."""
    made = dict.fromkeys(operation.parameters, "${event.id}")
    if operation.body == "none":
        return made
    required = contract.get("required") if isinstance(contract, dict) else None
    if isinstance(required, list) and required:
        properties = contract.get("properties")
        known = properties if isinstance(properties, dict) else {}
        made |= {str(key): _sample(known.get(key)) for key in required[:SAMPLES_MAX] if str(key) not in made}
        return made
    return made or {"event_id": "${event.id}", "type": "${event.type}"}


def _sample(schema: Any) -> str:
    """Write a value that a schema may take; what it says beyond kind and choice is the author's to fit."""
    return json.dumps(_value(schema), ensure_ascii=False)


def _value(schema: Any) -> object:
    if not isinstance(schema, dict):
        return "replace me"
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        properties: Mapping[str, Any] = schema.get("properties") or {}
        return {key: _value(properties.get(key)) for key in (schema.get("required") or ())[:SAMPLES_MAX]}
    least = schema.get("minimum", 0)
    values: Mapping[object, object] = {
        "integer": least, "number": least, "boolean": False, "array": [], "null": None,
    }  # fmt: skip
    return values.get(kind, "replace me")


def _text(text: str) -> str:
    """Write text as a YAML scalar: JSON is one."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)
