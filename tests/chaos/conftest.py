"""A fleet under load for each test, and the figures all of them leave behind; run by `make chaos` alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.cluster import Cluster
from tests.support.figures import Row, write
from tests.support.fleet import KAFKA_AT, KEEP_REQUESTS, Fleet, judge
from tests.support.kafka import RealKafka
from tests.support.parts import PartMissingError, unavailable
from tests.support.ports import free_port
from tests.support.system import System
from tests.support.toxiproxy import Toxiproxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.support.broker import Broker

CHAOS = "HOOKLINE_CHAOS"
collect_ignore_glob = [] if os.environ.get(CHAOS, "") not in {"", "0"} else ["test_*.py"]

PARTITIONS = 6


class Figures:
    """Judges what a fleet went through, and keeps a row of it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    async def judge(self, fleet: Fleet, what: str, test: str, *, repeats_max: int | None = None) -> None:
        """Wait until all is settled; nothing may be lost, and what was repeated must be within the bound."""
        await fleet.settled()
        found = fleet.attribution()
        print(f"\n{what}\n{found.table()}\nof {len(fleet.places)} deliveries")  # noqa: T201 - the figures
        judge(found)
        repeats = sum(len(each.firsts) for each in found.blames)
        oldest_s = max((each.oldest_s for each in found.blames if each.firsts), default=0.0)
        if repeats_max is not None:
            assert repeats <= repeats_max, found.table()
        self.rows.append(Row(what, len(fleet.places), repeats, oldest_s, test.partition("[")[0]))


@pytest.fixture(scope="session")
def session_figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Written to the page once all chaos tests there are have run and passed: figures of a part would mislead."""
    made = Figures()
    yield made
    chosen = [item for item in request.session.items if "figures" in getattr(item, "fixturenames", ())]
    whole = not request.config.getoption("-k") and not request.config.getoption("-m")
    if request.session.testsfailed == 0 and len(made.rows) == len(chosen) and whole and not _named(request.config):
        write(made.rows)
        print("\nThe figures are in docs/guarantees.md.")  # noqa: T201
    else:
        print("\nNot all of it ran and passed: the figures in docs/guarantees.md stay as they are.")  # noqa: T201


def _named(config: pytest.Config) -> bool:
    return any("::" in each or each.endswith(".py") for each in config.args)


@pytest.fixture
def figures(session_figures: Figures) -> Figures:
    """The figures of this run."""
    return session_figures


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Answers as real systems do; keeps every request, with the token of the worker that sent it."""
    made = Receiver(Behaviour(latency_ms=10, unavailable=0.03, reset=0.01), keep=KEEP_REQUESTS)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def fleet_on(tmp_path: Path, unique: str, receiver: Receiver) -> Iterator[Callable[..., Fleet]]:
    """`fleet_on(broker, group_protocol="consumer")`: all its workers share one machine's state folder.

    `timeout` is that of an attempt: long, or on a busy machine the receiver looks as if it did not answer.
    """
    made: list[System] = []

    def create(broker: Broker, timeout: str = "10s", kind: type[Fleet] = Fleet, **kafka: str) -> Fleet:
        system = System(tmp_path / "config", broker, unique, partitions=PARTITIONS)
        made.append(system)
        system.hookline["kafka"] = {"bootstrap": f"env:{KAFKA_AT}", **kafka}
        system.environ |= {KAFKA_AT: broker.bootstrap, "XDG_STATE_HOME": str(tmp_path / "state")}
        system.destination(
            "crm", receiver.url, limits={"concurrency": 8}, breaker={"open": "1s", "open_max": "2s"}, timeout=timeout
        )
        return kind(system, receiver)

    yield create
    for system in made:
        system.stop()


class Way:
    """A Kafka of one broker, and the proxy between it and workers started at `through`."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.through = f"127.0.0.1:{port}"
        self.broker = RealKafka(folder, advertised=port)
        try:
            self.proxy = Toxiproxy(folder, port, self.broker.proxied_port)
        except BaseException:
            self.broker.stop()
            raise

    def stop(self) -> None:
        """End both."""
        self.proxy.stop()
        self.broker.stop()


@pytest.fixture
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """A Kafka that is reached through a proxy."""
    try:
        made = Way(tmp_path_factory.mktemp("way"))
    except PartMissingError as error:
        unavailable("network between worker and Kafka", str(error))
    yield made
    made.stop()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Kafka of three brokers."""
    try:
        made = Cluster(tmp_path_factory.mktemp("cluster"))
    except PartMissingError as error:
        unavailable("Kafka of three brokers", str(error))
    yield made
    made.stop()
