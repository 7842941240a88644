"""Obeys the control topic of a broker in memory, wired as app/switchboard wires the real one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.core import switches
from pipeline.core.switches import DISABLED, DROP, RELEASE, RESET, Order, Switches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.models import Config
    from pipeline.model import Delivery, Record
    from pipeline.run.dispatch import Lane
    from pipeline.run.process import Process
    from pipeline.run.release import Release
    from pipeline.testing.stage.broker import StageBroker
    from pipeline.testing.stage.producer import StageProducer

READ_S: Final = 0.1
"""How long a record takes from being appended to being obeyed; 5 s are promised."""


class StageSwitches:
    """Of one worker. It knows at once what is on the topic already."""

    def __init__(
        self, broker: StageBroker, topic: str, config: Config, lanes: Mapping[str, Lane], process: Process,
        release: Release, producer: StageProducer,
    ) -> None:  # fmt: skip
        self._broker = broker
        self._topic = topic
        self._calls = config.calls()
        self._lanes = lanes
        self._process = process
        self._release = release
        self._producer = producer
        self._switches = Switches()
        self._loop = asyncio.get_running_loop()
        for lane in lanes.values():
            lane.disabled = self._disable
        for record in broker.of(topic):
            self._switches.note(record.key, record.value, record.timestamp_ms)
        if broker.of(topic):
            self._apply()
        broker.told.append(self._appended)

    def stop(self) -> None:
        """Hear of nothing more."""
        if self._appended in self._broker.told:
            self._broker.told.remove(self._appended)

    def _appended(self, record: Record) -> None:
        if record.topic == self._topic:
            self._loop.call_later(READ_S, self._read, record)

    def _read(self, record: Record) -> None:
        if self._appended not in self._broker.told:
            return
        said = self._switches.note(record.key, record.value, record.timestamp_ms)
        self._apply()
        if not isinstance(said, Order) or said.destination not in self._lanes:
            return
        lane = self._lanes[said.destination]
        if said.verb == RESET:
            lane.reset()
        elif said.verb == DROP:
            lane.drop(
                lambda each: each.run.hop > 0 and said.means(each.run.flight.record.timestamp_ms, each.run.started_ms)
            )

    def _apply(self) -> None:
        held = self._switches.gates(self._calls)
        for name, lane in self._lanes.items():
            lane.hold(held.get(name))
        orders = self._switches.orders(RELEASE, DROP)

        def of_step(destination: str, written_ms: int, started_ms: int, held: bool) -> Order | None:  # noqa: FBT001
            return switches.told(orders, (destination,), written_ms, started_ms, held=held)

        self._process.told = of_step if orders else None
        self._release.follow(orders, lambda: 1.0)

    def _disable(self, delivery: Delivery) -> None:
        step = delivery.step
        name = f"{step.destination}.{step.operation}"
        if any(each.scope == "operation" and each.name == name for each in self._switches.of(step.destination)):
            return
        now_ms = self._broker.clock() // 1_000_000
        content = switches.content(DISABLED, "a worker", str(delivery.status), now_ms)
        key = switches.disabled_key(step.destination, step.operation)
        self._producer.produce(self._topic, key, content, [], _acked)
        self._switches.note(key, content, now_ms)
        self._apply()


def _acked(_refused: object, _record: object) -> None:
    """Nothing waits for it."""
