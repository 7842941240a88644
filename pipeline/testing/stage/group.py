"""Shares the partitions of a group out among its members, and moves them when members come, go or fall silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.testing.stage.broker import Place, StageBroker, StageSource

LET_GO_S: Final = 40.0
"""How long a member may take to let go of partitions; then they are lost to it."""


class StageGroup:
    """One consumer group, cooperative: only partitions that move are taken away. Implements broker.Members."""

    def __init__(self, broker: StageBroker, topics: dict[str, int]) -> None:
        """`topics` with their partition counts."""
        self.members: list[StageSource] = []
        self.late: list[tuple[Place, ...]] = []
        """Partitions a member did not let go of in time; none may be."""
        self.places = [(topic, number) for topic, count in sorted(topics.items()) for number in range(count)]
        self._owner: dict[Place, StageSource] = {}
        self._moving: set[Place] = set()
        self._broker = broker
        self._loop = asyncio.get_running_loop()

    def join(self, source: StageSource) -> None:
        """See broker.Members."""
        self.members.append(source)
        self.balance()

    def leave(self, source: StageSource) -> None:
        """See broker.Members. It has let go of everything, or is dead."""
        if source in self.members:
            self.members.remove(source)
        for place in [place for place, owner in self._owner.items() if owner is source]:
            del self._owner[place]
            self._moving.discard(place)
        self.balance()

    def balance(self, turn: int = 0) -> None:
        """Give every partition its member; `turn` chooses among the ways to do that."""
        if not self.members:
            return
        wanted = {place: self.members[(index + turn) % len(self.members)] for index, place in enumerate(self.places)}
        free: dict[int, list[Place]] = {}
        for place, member in wanted.items():
            owner = self._owner.get(place)
            if place in self._moving or owner is member:
                continue
            if owner is None:
                self._owner[place] = member
                free.setdefault(id(member), []).append(place)
            else:
                self._revoke(owner, place)
        for member in self.members:
            if places := free.get(id(member)):
                member.assign(places)

    def _revoke(self, owner: StageSource, place: Place) -> None:
        self._moving.add(place)
        timer = self._loop.call_later(LET_GO_S, self._overdue, owner, place)

        def done() -> None:
            timer.cancel()
            if self._owner.get(place) is owner and place in self._moving:
                del self._owner[place]
                self._moving.discard(place)
                self.balance()

        owner.revoke([place], done)

    def _overdue(self, owner: StageSource, place: Place) -> None:
        if self._owner.get(place) is owner:
            self.late.append((place,))

    def expel(self, source: StageSource) -> None:
        """Give a silent member's partitions to the others first; it hears of it afterwards."""
        had = [place for place, owner in self._owner.items() if owner is source and place not in self._moving]
        others = [each for each in self.members if each is not source]
        if not others or not had:
            return
        for index, place in enumerate(had):
            other = others[index % len(others)]
            self._owner[place] = other
            other.assign([place])
        source.revoke(had, lambda: None, lost=True)

    def settled(self) -> bool:
        """Whether every partition has its member and none is on the move."""
        return not self._moving and len(self._owner) == len(self.places)
