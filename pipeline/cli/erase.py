"""`hookline erase`: a customer asked to be forgotten. Nothing is sent for them any more, and other systems are told."""

from __future__ import annotations

import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen
from pipeline.core import erasure
from pipeline.core.erasure import FOREVER, Holding
from pipeline.core.gates import ERASED_EVENT
from pipeline.model import Undecodable, value

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from pipeline.adapters.kafka.admin import Admin
    from pipeline.config.models import Config

_NAMESPACE: Final = uuid.UUID("a3a1f0c9-5a0e-5f4d-9d57-6f0f1d7c6c11")
_HEAD_BYTES: Final = 10  # of Avro single-object encoding
CUSTOMER_BYTES_MAX: Final = 65_536
"""Longest customer ID read from standard input."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "erase",
        help="forget a customer, and tell other systems",
        description="A customer asked to be forgotten. A marker that stays denies everything for them from now on, at "
        "retries and replays too. Their consent, suppressions and what is remembered of them are taken away; an event "
        "customer.erased starts the journeys that tell other systems. Then it says which topics may still hold "
        "something, and until when. It may be repeated: nothing is done twice. Exit code 1 if journeys wait for "
        "customer.erased, and nothing here can publish it.",
    )
    parser.add_argument("customer", metavar="CUSTOMER", help="the customer's ID, as in the events; - reads it from "
                        "standard input, which keeps it out of the shell's history")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--reveal", action="store_true", help="show the customer's ID")
    options.add_config(parser)
    options.add_json(parser)
    parser.set_defaults(run=execute)


@value
class Erasure:
    """What was done, or would be. `erased_ms` is when it began: the first time, if it is repeated."""

    erased_ms: int
    before: bool
    consent: int
    suppressions: int
    memory: int
    event: Event
    holdings: tuple[Holding, ...]


@value
class Event:
    """What became of customer.erased. `topic` "": it could not be published; `journeys` are those it starts."""

    id: str
    topic: str
    journeys: tuple[str, ...]


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks on Kafka. Raises ConfigError, TopicMissing, BrokerError."""
    config, settings = options.load(args)
    customer_id = _customer(args.customer)
    done = _Erasing(config, settings, customer_id, dry=args.dry_run).run()
    document = _document(done, config, customer_id, dry=args.dry_run, reveal=args.reveal)
    if args.json:
        screen.print_json(document)
    else:
        _print(document, done)
    return int(bool(done.event.journeys) and not done.event.topic)


def _customer(given: str) -> str:
    text = given
    if given == "-":
        text = sys.stdin.read(CUSTOMER_BYTES_MAX).removesuffix("\n")
    if not text or "\0" in text or not text.isprintable():
        raise options.refuse("CUSTOMER", "must be a customer's ID: not empty, one line, no control characters")
    return text


class _Erasing:
    """One erasure, step by step: first what denies, last what tells others."""

    def __init__(self, config: Config, settings: Mapping[str, str], customer_id: str, *, dry: bool) -> None:
        from pipeline.adapters.kafka.admin import Admin  # noqa: PLC0415 - commands import what is heavy once they run
        from pipeline.config import topics  # noqa: PLC0415

        self._config = config
        self._settings = settings
        self._customer_id = customer_id
        self._dry = dry
        self._admin: Admin = Admin(settings)
        self._consent, self._suppressions = topics.tables(config.group)

    def run(self) -> Erasure:
        """Do it all, in an order that can be broken off anywhere and repeated."""
        from pipeline.core import tables  # noqa: PLC0415

        now_ms = time.time_ns() // 1_000_000
        before = self._entries(self._suppressions)
        consent = self._entries(self._consent)
        erased_ms = _since(before.pop(tables.ERASED.encode(), b""))
        if not erased_ms:
            _, key, content = tables.erasure(self._customer_id, now_ms)
            self._publish(self._suppressions, {key: content})
        for topic, entries in ((self._consent, consent), (self._suppressions, before)):
            self._publish(topic, {self._key(name): None for name in entries})
        memory = self._forget()
        event = self._tell(erased_ms or now_ms, now_ms)
        return Erasure(erased_ms or now_ms, erased_ms > 0, len(consent), len(before), memory, event, self._holdings())

    def _key(self, name: bytes) -> bytes:
        key = self._customer_id.encode()
        return key + b"\0" + name if name else key

    def _entries(self, topic: str) -> dict[bytes, bytes]:
        """Return the customer's entries there are, by name."""
        from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
        from pipeline.core import tables  # noqa: PLC0415

        customer = self._customer_id.encode()
        found: dict[bytes, bytes] = {}
        with screen.progress(topic) as progress:
            for record in read_topic(self._settings, topic, progress=progress):
                whose = tables.split(record.key)
                if whose is not None and whose[0] == customer:
                    found.pop(whose[1], None)
                    if record.value is not None:
                        found[whose[1]] = record.value
        return found

    def _publish(self, topic: str, records: Mapping[bytes, bytes | None], partitions: tuple[int, ...] = (-1,)) -> None:
        from pipeline.adapters.kafka.control import publish  # noqa: PLC0415

        if records and not self._dry:
            publish(self._settings, topic, records, partitions)

    def _forget(self) -> int:
        """Have every owner of a memory partition forget the customer; return how many there are."""
        from pipeline.config import topics  # noqa: PLC0415

        topic = topics.memory(self._config.group)
        partitions = self._admin.partitions().get(topic, 0)
        self._publish(topic, {self._customer_id.encode(): None}, tuple(range(partitions)))
        return partitions

    def _tell(self, erased_ms: int, now_ms: int) -> Event:
        """Publish customer.erased, if a journey waits for it and an input takes events of ours."""
        config = self._config
        journeys = config.journeys.items()
        waiting = tuple(
            name for name, each in journeys if each.status != "draft" and ERASED_EVENT in each.trigger.events
        )
        # The same however often it is published, so that receivers drop repeats.
        event_id = str(uuid.uuid5(_NAMESPACE, "\0".join((config.group, self._customer_id, str(erased_ms)))))
        topic = next((each.topic for each in config.events if each.is_lifecycle_event), "")
        if waiting and topic:
            self._publish(topic, {self._customer_id.encode(): _event(event_id, self._customer_id, now_ms)})
        return Event(event_id, topic, waiting)

    def _holdings(self) -> tuple[Holding, ...]:
        from pipeline.config import topics  # noqa: PLC0415

        config = self._config
        group = config.group
        roles = dict.fromkeys(topics.inputs(config), "input") | dict.fromkeys(topics.retry_topics(config), "retry")
        roles |= dict.fromkeys(topics.logs(config).values(), "ordered")
        roles.setdefault(topics.events(group), "events")
        roles |= {topics.dead(group): "dead", topics.outcomes(group): "outcomes", topics.memory(group): "memory"}
        roles |= {topics.suppressions(group): "table", topics.consent(group): "consent"}
        for name in (each.topic for each in config.lookups.values()):
            roles.setdefault(name, "lookup")
        # Tiers and logs that the configuration has no more, but Kafka has.
        known = self._admin.partitions()
        roles |= dict.fromkeys(topics.removed_retry_topics(config, known), "retry")
        roles |= dict.fromkeys(topics.removed_logs(config, known), "ordered")
        states = self._admin.topics(roles)
        configs = {name: state.configs for name, state in states.items()}
        longest_ms = max((each.trigger.max_age_ms for each in config.journeys.values()), default=0)
        return erasure.holdings(roles, configs, longest_ms)


def _since(marker: bytes) -> int:
    """Return when a marker says that the customer was erased; 0 for one that cannot be read, or none."""
    from pipeline.adapters.schemas import Folders, packaged  # noqa: PLC0415
    from pipeline.core import decode, tables  # noqa: PLC0415

    if marker[:_HEAD_BYTES] != decode.single_object(tables.fingerprint(tables.SUPPRESSION)):
        return 0
    read = decode.reader(Folders((packaged(),)).readers[tables.RECORDS[tables.SUPPRESSION]])
    datum = read(marker, _HEAD_BYTES)
    return 0 if isinstance(datum, Undecodable) else int(datum["at"])


def _event(event_id: str, customer_id: str, now_ms: int) -> bytes:
    """Return customer.erased as our own record: it says whom, and nothing else."""
    from pipeline.adapters.schemas import Folders, packaged  # noqa: PLC0415
    from pipeline.config.models import LIFECYCLE_EVENT  # noqa: PLC0415
    from pipeline.core import decode  # noqa: PLC0415

    schema = Folders((packaged(),)).readers[LIFECYCLE_EVENT]
    customer: dict[str, object] = {"id": customer_id, "email": None, "phone": None, "timezone": None, "ids": {}}
    datum = {
        "id": event_id, "type": ERASED_EVENT, "time": now_ms, "customer": customer, "consent": {},
        "source": {"system": "hookline"}, "properties": {},
    }  # fmt: skip
    return decode.single_object(decode.fingerprint(schema)) + decode.encode(schema)(datum)


# --------------------------------------------------------------------------------------------------------- what is said


def _document(done: Erasure, config: Config, customer_id: str, *, dry: bool, reveal: bool) -> dict[str, Any]:
    from pipeline.app.reference import customer_reference  # noqa: PLC0415

    return {
        **({"customer": customer_id} if reveal else {}),
        "customer_ref": customer_reference(config.group)(customer_id),
        "dry_run": dry,
        "erased_at": screen.utc(done.erased_ms),
        "before": done.before,
        "taken_away": {"consent": done.consent, "suppressions": done.suppressions, "memory_partitions": done.memory},
        "event": {
            "type": ERASED_EVENT, "id": done.event.id, "topic": done.event.topic, "journeys": done.event.journeys,
            "published": bool(done.event.topic and done.event.journeys) and not dry,
        },
        "may_still_hold": [
            {"topic": each.topic, "what": each.what, "for_ms": each.until_ms, "why": each.why} for each in done.holdings
        ],
    }  # fmt: skip


def _print(document: Mapping[str, Any], done: Erasure) -> None:
    from pipeline.config.units import duration_text  # noqa: PLC0415

    whom = screen.visible(document.get("customer", f"customer {document['customer_ref']}"))
    would = "would be " if document["dry_run"] else ""
    print(f"{whom} {would}erased{' already' if done.before else ''}, since {document['erased_at']}")
    print(f"{would}taken away: {done.consent} consent entries, {done.suppressions} reasons to suppress"
          + (f", what {done.memory} partitions remember" if done.memory else ""))  # fmt: skip
    event = done.event
    if not event.journeys:
        print(f"no journey is started by {ERASED_EVENT}: no other system is told")
    elif event.topic:
        print(f"{would}published {ERASED_EVENT} {event.id} to {event.topic}; it starts {', '.join(event.journeys)}")
    else:
        print(
            f"{', '.join(event.journeys)} wait for {ERASED_EVENT}, and no entry of `events` takes "
            f"hookline.LifecycleEvent: publish one yourself, for this customer, with ID {event.id}"
        )
    rows = screen.table("may still hold", "what", "for", "why")
    for each in done.holdings:
        rows.add_row(
            each.topic, each.what, "ever" if each.until_ms == FOREVER else duration_text(each.until_ms), each.why
        )
    screen.console().print(rows)
