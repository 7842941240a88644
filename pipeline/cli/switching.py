"""Gives the fleet a command through the control topic, and waits until every live worker says that it is in force."""

from __future__ import annotations

import getpass
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

from pipeline.cli import options, screen
from pipeline.core.fleet import Fleet
from pipeline.core.switches import Switches

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from pipeline.config.models import Config

CONFIRM_S: Final = 20.0
"""How long workers may take to confirm; a change is in force within 5 s on those that reach Kafka."""
LOOK_S: Final = 0.25
"""How often is looked for confirmations."""
REASON_MAX: Final = 500
"""Characters of a reason."""


def add_reason(parser: argparse.ArgumentParser) -> None:
    """Add `--reason` and `--by`."""
    parser.add_argument(
        "--reason", metavar="TEXT", required=True, help="why: shown by hookline status and in the workers' logs"
    )
    parser.add_argument("--by", metavar="NAME", help="who: default is the user and host the command runs as")


def who(args: argparse.Namespace) -> str:
    """Name who gives the command."""
    if args.by:
        return str(args.by)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def reason(args: argparse.Namespace) -> str:
    """Return the reason; raises ConfigError for none."""
    text = " ".join(str(args.reason).split())
    if not text or len(text) > REASON_MAX:
        raise options.refuse("--reason", f"must say why, in 1 to {REASON_MAX} characters")
    return text


def known(flag: str, name: str, names: Iterable[str], what: str) -> str:
    """Return a name that is known; raises ConfigError with the nearest one for any other."""
    from pipeline.config.section import suggestion  # noqa: PLC0415 - commands import what is heavy once they run

    there = list(names)
    if name in there:
        return name
    hint = suggestion(name, there) or (f"there are: {', '.join(sorted(there)[:20])}" if there else "there is none")
    raise options.refuse(flag, f"no {what} is named {screen.visible(name)} ({hint})")


def read(config: Config, settings: Mapping[str, str]) -> tuple[Fleet, Switches]:
    """Read the control topic whole. Blocks; raises TopicMissing, BrokerError."""
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.config import topics  # noqa: PLC0415

    fleet, switches = Fleet(), Switches()
    topic = topics.control(config.group)
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, progress=progress):
            fleet.note(record.key, record.value)
            switches.note(record.key, record.value, record.timestamp_ms)
    return fleet, switches


def give(config: Config, settings: Mapping[str, str], fleet: Fleet, records: Mapping[bytes, bytes | None]) -> list[str]:
    """Write records and wait for the live workers of `fleet`; return those that did not confirm within CONFIRM_S.

    Says how it goes on standard error. Blocks; raises BrokerError.
    """
    from pipeline.adapters.kafka.control import publish  # noqa: PLC0415
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415

    topic = topics.control(config.group)
    ends = publish(settings, topic, records)
    began_s = time.monotonic()
    begin = {partition: offset + 1 for partition, offset in ends.items()}
    told = -1
    while True:
        for record in read_topic(settings, topic, begin=begin):
            fleet.note(record.key, record.value)
        alive = fleet.alive(time.time_ns() // 1_000_000)
        missing = [each.id for each in alive if not each.obeys(ends)]
        if not alive:
            _say("no worker is running: it will be in force when one starts")
            return []
        if len(alive) - len(missing) != told:
            told = len(alive) - len(missing)
            _say(f"in force on {told} of {len(alive)} workers, after {time.monotonic() - began_s:.1f} s")
        if not missing or time.monotonic() - began_s > CONFIRM_S:
            return missing
        time.sleep(LOOK_S)


def verdict(missing: list[str]) -> int:
    """Say which workers did not confirm; return the exit code."""
    for each in missing:
        _say(
            f"worker {screen.visible(each)} did not confirm within {CONFIRM_S:.0f} s: gone (it counts as such after "
            "30 s of silence), or cut off from Kafka; it obeys before it takes up anything more once it is back"
        )
    return 1 if missing else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)
