"""Whose events come, and what they say of consent meanwhile: chance alone decides."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from pipeline.model import ConsentSaid, Suppress
from pipeline.testing.simulation.drawn import CUSTOMERS, KEYS, TYPES
from pipeline.testing.simulation.facts import Published
from pipeline.testing.simulation.world import PARTITIONS
from pipeline.testing.stage.known import marked

if TYPE_CHECKING:
    from pipeline.testing.simulation.world import World
    from pipeline.testing.stage.perform import Events

TOPIC: Final = "stage.0"
_NAMESPACE: Final = uuid.UUID("4a0b6d2e-93a7-5b0e-a4f7-7d0c6a7d5b11")


def partition_of(customer: str) -> int:
    """Return the partition of a customer's events: records are keyed by customer."""
    return int(customer[2:]) % PARTITIONS


class People:
    """Of one world."""

    def __init__(self, world: World, events: Events, seed: int) -> None:
        self._world = world
        self._chance = world.chance
        self._events = events
        self._seed = seed
        self._sent: list[tuple[Published, tuple[bytes | None, bytes | None]]] = []

    def publish(self, type_: str = "", customer: str = "") -> None:
        """Let one event come, or the same once more, or something that is no event."""
        chance, world = self._chance, self._world
        customer = customer or f"c-{chance.randrange(CUSTOMERS)}"
        odd = chance.random()
        if not type_ and odd < 0.04:  # noqa: PLR2004
            self._garbage(chance.choice([None, b"", b"\x00\x00", b"\xc3\x01nonsense", chance.randbytes(20)]))
            return
        if not type_ and self._sent and odd < 0.08:  # noqa: PLR2004
            event, record = chance.choice(self._sent[-5:])
            again = Published(event.number, event.id, event.type, event.customer, event.key, event.level, event.flags,
                              event.at_ms, event.place, world.broker.logs[event.place].end)  # fmt: skip
            world.publish(again, record, copy=True)
            return
        number = len(self._sent) + 1
        flags = chance.choice([{}, {"marketing": True}, {"marketing": True}, {"marketing": True}, {"email": True},
                               {"marketing": False}, {"marketing": True, "email": False}])  # fmt: skip
        place = TOPIC, partition_of(customer)
        event = Published(
            number, str(uuid.uuid5(_NAMESPACE, f"{self._seed}/{number}")), type_ or chance.choice(TYPES), customer,
            f"k-{chance.randrange(KEYS)}", chance.randrange(100), flags, world.now_ms(), place,
            world.broker.logs[place].end,
        )  # fmt: skip
        sent = self._events.record({
            "id": event.id, "type": event.type, "time": event.at_ms, "customer": {"id": customer},
            "consent": {name: "granted" if granted else "denied" for name, granted in flags.items()},
            "properties": {"key": event.key, "value": event.level},
        })  # fmt: skip
        record = sent.key, sent.content
        self._sent.append((event, record))
        world.publish(event, record, copy=False)

    def _garbage(self, content: bytes | None) -> None:
        record = self._world.broker.append(TOPIC, self._chance.randrange(PARTITIONS), b"k", content, ())
        self._world.facts.garbage[record.topic, record.partition, record.offset] = content
        self._world.say("producer", f"no event at {record.topic}/{record.partition}@{record.offset}")

    def speak(self) -> None:
        """Let a customer say something to another system, which writes it to the tables."""
        chance, words = self._chance, self._world.words
        customer = f"c-{chance.randrange(CUSTOMERS)}"
        now_ms = self._world.now_ms()
        known = words.at(customer, self._world.now_s())
        if chance.random() < 0.6:  # noqa: PLR2004
            key = chance.choice(["marketing", "marketing", "email", "marketing.email"])
            known = marked(known, ConsentSaid(key, chance.random() < 0.6, now_ms), now_ms)  # noqa: PLR2004
        elif known.suppressions and chance.random() < 0.5:  # noqa: PLR2004
            known = type(known)(known.consent, known.suppressions[1:], known.erased_ms)
        else:
            scope, of = chance.choice([("category", "promotional"), ("channel", "email"), ("journey", "j1")])
            until_ms = chance.choice([0, now_ms + 5_000, now_ms + 60_000])
            made = Suppress(f"by-hand:{now_ms}", scope, of, "", "", until_ms, now_ms)
            known = marked(known, made, now_ms)
        words.say(customer, known)
        said = {**{key: word.granted for key, word in known.consent.items()},
                **{each.id: f"{each.scope} {each.of}" for each in known.suppressions}}  # fmt: skip
        self._world.say(customer, f"says: {said}")
