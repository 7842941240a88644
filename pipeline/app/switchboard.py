"""Obeys the control topic in one worker: what is paused or disabled waits, orders reach what waits, breakers are reset.

Everything the topic says is known before the first event is taken up; a change reaches the lanes as soon as it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core import crashes, switches
from pipeline.core.crashes import Crashes
from pipeline.core.switches import DISABLED, DROP, RELEASE, RESET, Order, Switch, Switches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipeline.adapters.kafka.control import ControlTopic
    from pipeline.app.modes import ModeGuard
    from pipeline.config.models import Config
    from pipeline.core.crashes import Position
    from pipeline.core.definitions import Definitions
    from pipeline.model import Delivery, Record
    from pipeline.ports import Clock, Producer, Telemetry
    from pipeline.run.brake import IntakeBrake
    from pipeline.run.dispatch import Lane
    from pipeline.run.process import Process
    from pipeline.run.release import Release
    from pipeline.run.turns import Turns


class Switchboard:
    """Owner of a worker's Switches. All calls on the loop."""

    def __init__(
        self,
        config: Config,
        worker_id: str,
        topic: str,
        producer: Producer,
        lanes: Mapping[str, Lane],
        telemetry: Telemetry,
        clock: Clock,
        share: Callable[[], float],
        definitions: Definitions,
        mode: ModeGuard,
    ) -> None:
        """`share` is this worker's of the fleet's rates; `definitions` and `mode` hear what the topic says of them."""
        self.applied: dict[int, int] = {}
        """By partition, the offset of the newest record that is in force here."""
        self.crashes = Crashes()
        """Records over which workers of the fleet died."""
        self._calls = config.calls()
        self._who = f"worker {worker_id}"
        self._topic = topic
        self._producer = producer
        self._lanes = lanes
        self._telemetry = telemetry
        self._clock = clock
        self._share = share
        self._definitions = definitions
        self._mode = mode
        self._switches = Switches()
        self._process: Process | None = None
        self._holders: list[Release | Turns] = []
        self._brakes: tuple[IntakeBrake, ...] = ()
        self._live = False
        for lane in lanes.values():
            lane.disabled = self._disable

    async def start(self, control: ControlTopic) -> None:
        """Read all that is on the topic, then follow it. Raises BrokerError, TopicMissing."""
        await control.start(self._read)
        self._live = True
        self._apply()
        for each in self._switches.on():
            self._tell(each)

    def attach(self, process: Process, holder: Release | Turns) -> None:
        """Let orders reach what waits there, too, from now on."""
        self._process = process
        self._holders.append(holder)
        self._order()

    def died_over(self, positions: Iterable[Position]) -> None:
        """Tell the fleet of records over which a worker of this machine died; and forget what is long over."""
        now_ms = self._clock() // 1_000_000
        for position in self.crashes.over(now_ms):
            self.survived(position)
        for position in positions:
            key, content = self.crashes.count(position, self._who, now_ms)
            self._producer.produce(self._topic, key, content, [], _acked)
            topic, partition, offset = position
            self._telemetry.log(
                "error", "worker_died_over_record", topic=topic, partition=partition, offset=offset,
                crashes=self.crashes.suspects[position],
            )  # fmt: skip

    def survived(self, position: Position) -> None:
        """Tell the fleet that a record was taken up and nobody died."""
        self.crashes.suspects.pop(position, None)
        self._producer.produce(self._topic, crashes.key(position), None, [], _acked)

    def stop_by(self, brakes: Iterable[IntakeBrake]) -> None:
        """Let what is said of intakes reach their brakes, from now on."""
        self._brakes = tuple(brakes)
        self._brake()

    def outdated(self, now_ms: int) -> tuple[bytes, ...]:
        """Return the keys of orders that mean nothing any more: each worker has them deleted, once that is so."""
        return self._switches.outdated(now_ms, self._definitions.max_age_ms())

    # ------------------------------------------------------------------------------------------- the topic

    def _read(self, records: list[Record]) -> None:
        said = []
        for record in records:
            if self._definitions.note(record.key, record.value, record.timestamp_ms):
                continue
            if self.crashes.note(record.key, record.value):
                continue
            if self._mode.note(record.key, record.value):
                continue
            found = self._switches.note(record.key, record.value, record.timestamp_ms)
            if found is not None:
                said.append(found)
        if self._live:
            self._apply()
            for each in said:
                self._tell(each)
                if isinstance(each, Order) and each.destination in self._lanes:
                    self._reach(self._lanes[each.destination], each)
        for record in records:
            self.applied[record.partition] = record.offset

    def _apply(self) -> None:
        held = self._switches.gates(self._calls)
        for name, lane in self._lanes.items():
            lane.hold(held.get(name))
        self._order()
        self._brake()

    def _brake(self) -> None:
        for brake in self._brakes:
            brake.obey(self._switches.of_intake(brake.name))

    def _order(self) -> None:
        if self._process is None:
            return
        orders = self._switches.orders(RELEASE, DROP)

        def of_step(destination: str, written_ms: int, started_ms: int, held: bool) -> Order | None:  # noqa: FBT001
            return switches.told(orders, (destination,), written_ms, started_ms, held=held)

        self._process.told = of_step if orders else None
        for holder in self._holders:
            holder.follow(orders, self._share)

    @staticmethod
    def _reach(lane: Lane, order: Order) -> None:
        """Let an order reach what waits in the lane already: taken from its retry topic, but not sent."""
        if order.verb == RESET:
            lane.reset()
        elif order.verb == DROP:
            lane.drop(
                lambda each: each.run.hop > 0 and order.means(each.run.flight.record.timestamp_ms, each.run.started_ms)
            )

    def _tell(self, said: Switch | Order) -> None:
        """Keep a history: the topic has only the last word on each name."""
        if isinstance(said, Switch):
            self._telemetry.log(
                "warning" if said.on else "info", f"switch_{said.state}", scope=said.scope, name=said.name,
                who=said.who, reason=said.reason,
            )  # fmt: skip
        else:
            self._telemetry.log(
                "warning", f"order_{said.verb}", destination=said.destination, who=said.who, reason=said.reason
            )

    # ----------------------------------------------------------------------------------------- 410 and the like

    def _disable(self, delivery: Delivery) -> None:
        """Switch an operation off: here at once, in the fleet as soon as they read of it."""
        step = delivery.step
        key = switches.disabled_key(step.destination, step.operation)
        if any(each.scope == "operation" and each.name == f"{step.destination}.{step.operation}"
               for each in self._switches.of(step.destination)):  # fmt: skip
            return
        now_ms = self._clock() // 1_000_000
        event = delivery.run.flight.event
        reason = f"answered {delivery.status} to event {event.id}" if event is not None else f"{delivery.status}"
        content = switches.content(DISABLED, self._who, reason, now_ms)
        self._producer.produce(self._topic, key, content, [], _acked)
        self._switches.note(key, content, now_ms)
        self._apply()


def _acked(_refused: object, _record: object) -> None:
    """Nothing waits for it: the worker that hears of it last finds out by itself."""
