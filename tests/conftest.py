"""Fixtures every test may use, and one closing line that says which real parts were missing."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support import apicurio, collector, toxiproxy, zipkin
from tests.support.broker import Broker
from tests.support.kafka import JARS, RealKafka
from tests.support.parts import MISSING, Part, PartMissingError, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOOTSTRAP = "KAFKA_BOOTSTRAP"
NEED_KAFKA = {"kafka", "kafka_private", "kafka_secured", "cluster", "way"}
PARTS = {
    JARS: NEED_KAFKA,
    Part(f"apicurio-{apicurio.VERSION}", "Apicurio Registry (142 MB)", apicurio._fetch): {"registry", "registry_url"},
    zipkin.JAR: {"zipkin"},
    toxiproxy.PROGRAM: {"way"},
    collector.PROGRAM: {"collector", "collector_to_zipkin"},
}
"""What is fetched, and the fixtures that need it."""


SOAK = "HOOKLINE_SOAK"

settings.register_profile("hookline", deadline=None)  # a busy machine is no flaw
settings.load_profile("hookline")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks that are explained best where they are acted on."""
    config.addinivalue_line("markers", f"soak: `make soak` runs this test alone, with the whole data ({SOAK}=1)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a real Kafka by the fixtures it asks for, so that `-m "not kafka"` is always right."""
    for item in items:
        if NEED_KAFKA.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch what the chosen tests need before the first one runs: a test's timeout is no measure for a download."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # none in the processes that share the tests
    for part, fixtures in PARTS.items():
        if part.here or wanted.isdisjoint(fixtures):
            continue
        if reporter is not None:
            reporter.write_line(f"Getting {part.what} for the tests, once ...")
        with contextlib.suppress(PartMissingError):  # the fixture tells
            part.get()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason why real parts were missing, however many tests were skipped for it."""
    skipped: dict[str, Counter[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found = re.search(rf"{MISSING} ([^:]*): (.*)", reason)
        if found:
            skipped.setdefault(found[2], Counter())[found[1]] += 1
    for why, parts in skipped.items():
        line = f"{parts.total()} tests skipped: {MISSING} {', '.join(parts)}: {why}"
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what workers leave on a machine out of the developer's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv("STATE_DIRECTORY", raising=False)
        yield


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The real Kafka all tests share: the one named by KAFKA_BOOTSTRAP, else one started for this test run."""
    named = os.environ.get(BOOTSTRAP, "")
    if named:
        broker = Broker(named)
        if not broker.reachable(10.0):
            pytest.fail(f"no Kafka answers at {BOOTSTRAP}={named}", pytrace=False)
        yield broker
    else:
        yield from _own(tmp_path_factory, secured=False)


@pytest.fixture
def kafka_private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """A real Kafka of this test's own, which it may kill and restart."""
    _refuse_named("Kafka that a test may stop")
    yield from _own(tmp_path_factory, secured=False)


@pytest.fixture(scope="session")
def kafka_secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """A real Kafka with SASL (PLAIN, SCRAM) and TLS listeners; see `RealKafka.security`."""
    _refuse_named("Kafka with SASL and TLS listeners")
    yield from _own(tmp_path_factory, secured=True)


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether this is a long run on purpose: tests marked `soak` then take all of their data instead of a cut."""
    return os.environ.get(SOAK, "") not in {"", "0"}


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name no other test uses, fit for topics and groups, that tells which test it was."""
    plain = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    return f"{plain}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def topic_factory(kafka: Broker, unique: str) -> Callable[..., str]:
    """`topic_factory("events", partitions=8, cleanup_policy="compact")` makes a topic and returns its name."""

    def create(name: str = "events", partitions: int = 1, **config: str) -> str:
        return kafka.create_topic(f"{unique}.{name}", partitions, **config)

    return create


def _refuse_named(what: str) -> None:
    if os.environ.get(BOOTSTRAP):
        unavailable(what, f"{BOOTSTRAP} is set; unset it to let the tests start one")


def _own(folders: pytest.TempPathFactory, *, secured: bool) -> Iterator[RealKafka]:
    try:
        broker = RealKafka(folders.mktemp("kafka"), secured=secured)
    except PartMissingError as error:
        unavailable("Kafka", str(error))
    try:
        yield broker
    finally:
        broker.stop()
