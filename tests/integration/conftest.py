"""The real systems around Hookline that only integration tests need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.adapters.kafka.source import KafkaSource
from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.apicurio import apicurio
from tests.support.collector import Collector
from tests.support.inbox import Inbox
from tests.support.parts import PartMissingError, unavailable
from tests.support.system import System
from tests.support.zipkin import Zipkin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.support.broker import Broker


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a real Schema Registry all tests share (Confluent's interface)."""
    try:
        with apicurio(tmp_path_factory.mktemp("apicurio")) as url:
            yield url
    except PartMissingError as error:
        unavailable("Schema Registry", str(error))


@pytest.fixture(scope="session")
def zipkin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zipkin]:
    """A real Zipkin all tests share; traces are told apart by their IDs."""
    try:
        running = Zipkin(tmp_path_factory.mktemp("zipkin"))
    except PartMissingError as error:
        unavailable("Zipkin", str(error))
    yield running
    running.stop()


@pytest.fixture
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A real OpenTelemetry Collector of this test's own."""
    yield from _collector(tmp_path_factory, None)


@pytest.fixture
def collector_to_zipkin(tmp_path_factory: pytest.TempPathFactory, zipkin: Zipkin) -> Iterator[Collector]:
    """A collector of this test's own that passes spans on to `zipkin` too."""
    yield from _collector(tmp_path_factory, zipkin.url)


def _collector(folders: pytest.TempPathFactory, zipkin: str | None) -> Iterator[Collector]:
    try:
        running = Collector(folders.mktemp("collector"), zipkin)
    except PartMissingError as error:
        unavailable("OpenTelemetry Collector", str(error))
    yield running
    running.stop()


@pytest.fixture
def system(tmp_path: Path, kafka: Broker, unique: str) -> Iterator[System]:
    """A Hookline of this test's own on the shared Kafka; worker processes still running are stopped at the end."""
    made = System(tmp_path / "config", kafka, unique)
    yield made
    made.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks on a free port; it answers 204 until a test says otherwise, and keeps what it got."""
    made = Receiver(Behaviour(), keep=1_000)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def open_source(kafka: Broker, unique: str) -> Iterator[Callable[..., Inbox]]:
    """`open_source(topic, role="input", **settings)` starts a source in this test's group, and gives what it posts."""
    made: list[KafkaSource] = []

    def create(topic: str, role: str = "input", **settings: str) -> Inbox:
        source = KafkaSource(
            {"bootstrap.servers": kafka.bootstrap, **settings}, unique, [topic], role, lambda *_, **__: None
        )
        made.append(source)
        return Inbox(source)

    yield create
    for source in made:
        source._stopping.set()
        source._finished.wait(30)
