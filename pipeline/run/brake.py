"""Holds one intake back: because too much of it came to nothing (core/brake), or because somebody said so.

Nothing is dropped and nothing is dead-lettered meanwhile: records wait where they are, and once the source's prefetch
is full it fetches no more. After a while what comes next is looked at without taking it up; if it would go well, the
intake goes on by itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.core.brake import BRAKING, Brake
from pipeline.ports import Halt

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from pipeline.core.brake import BrakePolicy
    from pipeline.core.switches import Switch
    from pipeline.model import FailureClass, Flight, Record
    from pipeline.ports import Clock
    from pipeline.run.lookup import Lookup
    from pipeline.run.reading import Foretell

LOOK_RECORDS: Final = 100
"""Records that are looked at, at most, before an intake goes on by itself."""


class Braked(Protocol):
    """What the brake asks of its intake. `foretell`: see run/process, for new events or for released runs."""

    foretell: Foretell
    lookup: Lookup

    def upcoming(self, most: int) -> Sequence[Record]:
        """Return the next records that would be taken up, at most so many."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself."""

    def go_on(self) -> None:
        """Take up what there is, on a later turn of the loop."""


class IntakeBrake:
    """Of one intake. All calls on the loop. `on` is what the intake asks before each record."""

    def __init__(self, name: str, policy: BrakePolicy, intake: Braked, log: Callable[..., None], clock: Clock) -> None:
        """`name` is the input topic, or the role."""
        self.name = name
        self.on = False
        self.taken = 0
        """Positions taken up; the intake counts them."""
        self._brake = Brake(policy)
        self._switch: Switch | None = None
        self._last: Flight | None = None
        self._log = log
        self._clock = clock
        self._intake = intake
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = False  # the last look found nothing to look at
        self._off = asyncio.Event()
        self._off.set()

    def failed(self, flight: Flight, cls: str) -> None:
        """Note what became of a position; of several deliveries of one event the first counts."""
        if cls not in BRAKING or flight is self._last:
            return
        self._last = flight
        if not self._brake.failed(cls, self.taken, self._now_ms()):
            return
        record = flight.record
        self._log(
            "error", "intake_paused", intake=self.name, reason=self._brake.why, topic=record.topic,
            partition=record.partition, offset=record.offset, remedy=f"hookline resume intake {self.name}",
        )  # fmt: skip
        self._arm()
        self._set()

    def obey(self, switch: Switch | None) -> None:
        """Do what somebody said last of this intake: `paused` holds it, `resumed` lets everything pass for a while."""
        if switch == self._switch:
            return
        self._switch = switch
        if switch is not None and not switch.on:
            held = bool(self._brake.since_ms)
            self._brake.free(switch.at_ms)
            if held and not self._brake.since_ms:
                self._log("info", "intake_resumed", intake=self.name, reason=f"by {switch.who}")
        self._set()

    def came(self) -> None:
        """Note that there is something to take up while the brake holds: if a look waits for that, it is made now."""
        if self._idle:
            self._idle = False
            self._look()

    async def off(self) -> None:
        """Wait until the intake may go on."""
        await self._off.wait()

    def halt(self) -> Halt | None:
        """Say why the intake stands still by itself, None if it does not. What somebody paused is in the switches."""
        brake = self._brake
        return Halt(f"intake {self.name}", brake.since_ms, brake.why, brake.look_ms) if brake.since_ms else None

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    # ------------------------------------------------------------------------------------------------- looking

    def _look(self) -> None:
        self._timer = None
        if self._brake.since_ms:
            self._intake.spawn(self._looked())

    async def _looked(self) -> None:
        bad = of = 0
        for record in self._intake.upcoming(LOOK_RECORDS):
            of += 1
            bad += await self._foretold(record) in BRAKING
        if not self._brake.since_ms:
            return  # somebody was faster
        if self._brake.looked(bad, of, self.taken, self._now_ms()):
            self._log(
                "info", "intake_resumed", intake=self.name, reason=f"{bad} of the next {of} would come to nothing"
            )
            self._set()
            return
        self._idle = of == 0
        self._arm()

    async def _foretold(self, record: Record) -> FailureClass | None:
        """Say why a record would come to nothing, None if it would not. Waits for its schema."""
        while isinstance(wanted := self._intake.foretell(record, self._clock()), tuple):
            await self._intake.lookup.find((record.topic, record.partition), *wanted)
        return wanted

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if not self._idle:
            wait_s = max(self._brake.look_ms - self._now_ms(), 0) / 1_000
            self._timer = self._loop.call_later(wait_s, self._look)

    def _set(self) -> None:
        by_hand = self._switch is not None and self._switch.on
        on = by_hand or bool(self._brake.since_ms)
        if on == self.on:
            return
        self.on = on
        if on:
            self._off.clear()
        else:
            self._off.set()
            self._loop.call_soon(self._intake.go_on)

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000
