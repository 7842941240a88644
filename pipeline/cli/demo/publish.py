"""Sends a demo's events, by the very sender of `hookline produce`."""

from __future__ import annotations

import contextlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pipeline.adapters.kafka.feed import Feed
from pipeline.adapters.schemas import Folders, packaged
from pipeline.adapters.telemetry import OtelTelemetry, Places, Settings
from pipeline.cli import lines
from pipeline.cli.produce import Frame, Publisher
from pipeline.config import topics
from pipeline.config.models import LIFECYCLE_EVENT
from pipeline.core import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pipeline.config.models import Config


@contextlib.contextmanager
def publishing(config: Config, settings: dict[str, str], log: Path) -> Iterator[Publisher]:
    """Give a sender to the one input topic of a configuration; what it logs goes to the end of `log`."""
    schema = _schema()
    head, body = decode.single_object(decode.fingerprint(schema)), decode.encode(schema)
    (topic,) = topics.inputs(config)
    feed = Feed(settings, topic)
    with log.open("ab") as stream:
        named = Settings("demo", Places(config.group, "", "", "", "", {}), config.telemetry.sample)
        telemetry = OtelTelemetry(named, environ={}, stream=stream)  # its word on sampling; it exports nothing
        try:
            yield Publisher(feed, Frame(lambda event: head + body(event), []), telemetry, topic)
        finally:
            telemetry.close()


def as_event(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Avro takes, of an event as JSON has it."""
    event = lines.json_lines(_schema())(json.dumps(document))
    assert event is not None
    return event


@lru_cache(1)
def _schema() -> Any:
    return Folders((packaged(),)).readers[LIFECYCLE_EVENT]
