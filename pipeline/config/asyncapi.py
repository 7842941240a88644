"""Makes the contract of the topics: an AsyncAPI 3 document of what Hookline reads and writes, with Avro schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipeline.config import topics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.models import Config

VERSION: Final = "3.0.0"
AVRO: Final = "application/vnd.apache.avro;version=1.9.0"

_ORIGINAL: Final = "the input record's own bytes and key; what is ours is in headers"
OWN: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "retry": ("send and receive", f"Runs that wait for another try: {_ORIGINAL}.", ()),
    "ordered": (
        "send and receive", f"The log of a journey that keeps order: {_ORIGINAL}, but for its key, the customer ID.", ()
    ),
    "dead": ("send", f"Deliveries that are dead or rejected: {_ORIGINAL}, with class, reason and source.", ()),
    "outcomes": (
        "send", "What became of every delivery, and ledgers of offsets without one.",
        ("hookline.DeliveryOutcome", "hookline.Ledger"),
    ),
    "control": ("send and receive", "Worker reports, pauses, resets and definitions, JSON by name; compacted.", ()),
    "suppressions": (
        "send and receive", "What a customer is not sent, until when; compacted.", ("hookline.Suppression",),
    ),
    "consent": ("send and receive", "Consent by customer, purpose and channel; compacted.", ("hookline.Consent",)),
    "memory": ("send and receive", "What journeys remember of a customer; compacted.", ("hookline.Memory",)),
    "events": ("send and receive", "Events of inputs that are not keyed by customer, copied so: original bytes.", ()),
}  # fmt: skip
"""By what follows the group's name: what is done with the topic, what it is for, and the schemas of its values."""


def document(config: Config, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contract of all topics; `schemas` are Avro schemas (parsed JSON) by full name."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for topic in topics.inputs(config):
        records = [each.record for each in config.events if each.topic == topic]
        _add(channels, operations, topic, ("receive", "Input.", tuple(each for each in records if each)), schemas)
    for topic in topics.own(config):
        role = topic.removeprefix(f"{config.group}.").partition(".")[0]
        _add(channels, operations, topic, OWN.get(role, ("send and receive", "Hookline's own.", ())), schemas)
    bootstrap = config.kafka.bootstrap
    server: dict[str, Any] = {"host": bootstrap, "protocol": "kafka"}
    if bootstrap.startswith(("env:", "file:")):
        server = {"host": "{bootstrap}", "protocol": "kafka", "variables": {"bootstrap": {"description": bootstrap}}}
    return {
        "asyncapi": VERSION,
        "info": {"title": f"Topics of {config.group}", "version": "1.0.0"},
        "defaultContentType": "avro/binary",
        "servers": {"kafka": server},
        "channels": channels,
        "operations": operations,
    }


def _add(
    channels: dict[str, Any],
    operations: dict[str, Any],
    topic: str,
    what: tuple[str, str, tuple[str, ...]],
    schemas: Mapping[str, Any],
) -> None:
    actions, description, names = what
    name = topic.replace(".", "_")
    messages = {each.replace(".", "_"): _message(each, schemas) for each in names}
    channels[name] = {
        "address": topic,
        "description": description,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": messages or {"record": {"description": f"Not of one schema: {_ORIGINAL}."}},
    }
    for action in actions.split(" and "):
        operations[f"{action}_{name}"] = {"action": action, "channel": {"$ref": f"#/channels/{name}"}}


def _message(name: str, schemas: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "contentType": "avro/binary"}
    if name in schemas:
        made["payload"] = {"schemaFormat": AVRO, "schema": _spelled(schemas[name])}
    return made


def _spelled(schema: Any) -> Any:
    """Return an Avro schema with namespaces apart from names: AsyncAPI takes no full names where a type is defined."""
    if isinstance(schema, list):
        return [_spelled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: part if key in ("default", "symbols") else _spelled(part) for key, part in schema.items()}
    namespace, _, name = str(schema.get("name", "")).rpartition(".")
    return {**made, "name": name, "namespace": namespace} if namespace else made
