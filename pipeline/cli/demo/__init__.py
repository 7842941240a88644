"""`hookline demo`: shows Hookline at work: an embedded broker, receivers with human problems, a real worker."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from pipeline.cli import options

if TYPE_CHECKING:
    import argparse

EVENTS_DEFAULT: Final = 3_000
EVENTS_MIN: Final = 100
EVENTS_MAX: Final = 20_000
"""An embedded broker keeps 5 MB a partition; this many stay well below."""
SEED_DEFAULT: Final = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "demo",
        help="see it work, without installing anything",
        description="Start a broker inside this process, three receivers with problems and a real worker; send events; "
        "show what happens; account for every one of them, print one event's trace, and end. Exit code 0 if every "
        "event is accounted for, 1 if not.",
    )
    parser.add_argument("--example", metavar="NAME", help="perform one of the examples instead; `list` names them")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="stay up afterwards, until Ctrl-C, and say what to try; of an example, keep the folder",
    )
    parser.add_argument(
        "--bootstrap",
        metavar="HOST:PORT",
        help="use this Kafka instead (topics demo-* are made there, and deleted at the end unless --keep)",
    )
    parser.add_argument(
        "--events", type=options.whole(EVENTS_MIN, EVENTS_MAX), default=EVENTS_DEFAULT, metavar="N",
        help=f"how many events, {EVENTS_MIN} to {EVENTS_MAX} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=SEED_DEFAULT, metavar="N", help="of all chance (default: %(default)s)"
    )
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the demo to its end. Exit 0 if everything is accounted for, 1 if not. Raises BrokerError."""
    if args.example is not None:
        return _example(args)
    from pipeline.cli.demo.play import play  # noqa: PLC0415 - keep `hookline --help` fast

    return play(args.events, args.seed, args.bootstrap, keep=args.keep)


def _example(args: argparse.Namespace) -> int:
    from pipeline.cli.demo import example  # noqa: PLC0415 - keep `hookline --help` fast
    from pipeline.config.section import suggestion  # noqa: PLC0415

    known = example.names()
    if args.example in known:
        return example.perform(args.example, args.bootstrap, keep=args.keep)
    if args.example == "list":
        print("\n".join(known))
        return 0
    remedy = suggestion(args.example, known) or "there are: " + ", ".join(known)
    print(f"there is no example {args.example}; {remedy}", file=sys.stderr)
    return 2
