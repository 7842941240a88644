"""`hookline dead`: list the dead letters, show one of them whole, or send them again."""

from __future__ import annotations

import heapq
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, replay, screen
from pipeline.model import FailureClass

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping

    from pipeline.cli.letter import Letter
    from pipeline.config.models import Config
    from pipeline.ports import Schemas

LIMIT: Final = 20
LIMIT_MAX: Final = 10_000
"""Letters that are listed, the newest ones."""
SHOWN_MAX: Final = 100
"""Letters that `show` prints for one ID."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "dead",
        help="list, show or replay dead letters",
        description="The dead topic: events that could not be decoded, and deliveries that ended as dead or rejected.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser(
        "list", help="list them, newest first", description="List dead letters, newest first, and count them by class."
    )
    listing.add_argument(
        "--class",
        dest="cls",
        metavar="CLASS",
        choices=[each.value for each in FailureClass],
        help="of this failure class",
    )
    listing.add_argument("--destination", metavar="NAME", help="for this destination")
    for name in ("journey", "step"):
        listing.add_argument(f"--{name}", metavar="NAME", help=f"of this {name}")
    listing.add_argument("--event", metavar="ID", help="of this event")
    options.add_since(listing, "written since")
    listing.add_argument(
        "--until", metavar="WHEN", type=options.Since, help="written until: an age or a time, likewise"
    )
    listing.add_argument(
        "--limit",
        metavar="N",
        type=options.whole(1, LIMIT_MAX),
        default=LIMIT,
        help=f"list so many (default: {LIMIT}, at most {LIMIT_MAX})",
    )
    showing = actions.add_parser(
        "show",
        help="show one, with its event",
        description="Show the dead letters of an event or a delivery, or the one at a position: what their headers "
        "say, and the event. Exit code 1 if there is none.",
    )
    showing.add_argument("id", metavar="ID", help="event, delivery or trace ID, or a record as TOPIC/PARTITION/OFFSET")
    showing.add_argument("--reveal", action="store_true", help="show values too: they may be personal data")
    for each in (listing, showing, replay.register(actions)):
        options.add_config(each)
        options.add_json(each)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks while reading. Raises ConfigError, TopicMissing, BrokerError."""
    config, settings = options.load(args)
    if args.action == "replay":
        return replay.execute(args, config, settings)
    if args.action == "list":
        now_ms = time.time_ns() // 1_000_000
        since_ms = args.since.at_ms(now_ms) if args.since is not None else None
        return _list(args, _letters(config, settings, since_ms), now_ms)
    found = list(_first(SHOWN_MAX, (each for each in _letters(config, settings, None) if each.named(args.id))))
    return _show(args, config, found)


def _letters(config: Config, settings: Mapping[str, str], since_ms: int | None) -> Iterator[Letter]:
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.cli.letter import letter  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415

    topic = topics.dead(config.group)
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, since_ms=since_ms, progress=progress):
            yield letter(record)


def _first(number: int, letters: Iterable[Letter]) -> Iterator[Letter]:
    for _, each in zip(range(number), letters, strict=False):
        yield each


# ----------------------------------------------------------------------------------------------------------- list


def _list(args: argparse.Namespace, letters: Iterable[Letter], now_ms: int) -> int:
    classes: Counter[str] = Counter()
    newest: list[tuple[int, str, int, Letter]] = []
    for number, each in enumerate(letters):
        if not _wanted(args, each, now_ms):
            continue
        classes[each.says.get("class", "")] += 1
        item = (each.at_ms, each.position, number, each)
        heapq.heappush(newest, item) if len(newest) < args.limit else heapq.heappushpop(newest, item)
    chosen = [item[3] for item in sorted(newest, reverse=True)]
    if args.json:
        counts = dict(classes.most_common())
        screen.print_json({"count": classes.total(), "classes": counts, "letters": [_row(each) for each in chosen]})
    else:
        _print(chosen, classes)
    return 0


def _wanted(args: argparse.Namespace, letter: Letter, now_ms: int) -> bool:
    wanted = {"class": args.cls, "destination": args.destination, "journey": args.journey, "step": args.step,
              "event-id": args.event}  # fmt: skip
    if args.until is not None and letter.at_ms > args.until.at_ms(now_ms):
        return False
    return all(value is None or letter.says.get(name) == value for name, value in wanted.items())


def _row(letter: Letter) -> dict[str, Any]:
    return {"at_ms": letter.at_ms, "position": letter.position, "source": letter.source,
            **{name: text for name, text in letter.says.items() if not name.startswith("source-")}}  # fmt: skip


def _print(letters: list[Letter], classes: Counter[str]) -> None:
    out = screen.console()
    if not letters:
        out.print("no dead letters")
        return
    shown = screen.table("written (UTC)", "class", "journey.step", "destination", "status", "tries", "event", "source")
    for each in letters:
        says = each.says
        step = f"{says['journey']}.{says.get('step', '')}" if "journey" in says else ""
        cells = [says.get(name, "") for name in ("destination", "status", "attempts", "event-id")]
        told = (says.get("class", ""), step, *cells, each.source)
        shown.add_row(screen.utc(each.at_ms), *map(screen.cell, told))
    out.print(shown)
    counts = ", ".join(
        f"{screen.cell(cls) or 'no class'} {screen.count(number)}" for cls, number in classes.most_common()
    )
    out.print(f"{screen.count(classes.total())} dead letters: {counts}", soft_wrap=True)
    if classes.total() > len(letters):
        out.print(f"the newest {len(letters)} are listed; more with --limit")


# ----------------------------------------------------------------------------------------------------------- show


def _show(args: argparse.Namespace, config: Config, letters: list[Letter]) -> int:
    from pipeline.adapters.schemas import KnownSchemas  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415

    if not letters:
        print(f"no dead letter is named {args.id}", file=sys.stderr)
        return 1
    schemas = KnownSchemas.of(config, Secrets(config.folder))
    try:
        documents = [_document(each, schemas, reveal=args.reveal) for each in letters]
    finally:
        schemas.close()
    if args.json:
        screen.print_json({"letters": documents})
    else:
        for number, each in enumerate(documents):
            _print_one(each, first=number == 0)
        if not args.reveal:
            print("\nvalues are masked; --reveal shows them")
    return 0


def _document(of: Letter, schemas: Schemas, *, reveal: bool) -> dict[str, Any]:
    from pipeline.cli import letter  # noqa: PLC0415

    return {
        **_row(of),
        "excerpt": letter.excerpt(of, reveal=reveal),
        "earlier": letter.earlier(of, reveal=reveal),
        "key": letter.original_key(of, reveal=reveal),
        "headers": letter.original_headers(of, reveal=reveal),
        "event": letter.original_value(of, schemas, reveal=reveal),
    }


def _print_one(document: dict[str, Any], *, first: bool) -> None:
    import json  # noqa: PLC0415 - keeps text readable where orjson would not indent by two

    if not first:
        print()
    width = max(map(len, document))
    for name, content in document.items():
        if name == "at_ms":
            print(f"{'written':<{width}}  {screen.utc(content)} UTC")
        elif name == "headers":
            for header, text in content.items():
                print(f"{'header':<{width}}  {screen.visible(header)}: {screen.visible(text)}")
        elif name in ("earlier", "event") and not isinstance(content, str):
            if not content:
                continue
            print("earlier steps" if name == "earlier" else name)
            lines = json.dumps(content, indent=2, ensure_ascii=False).split("\n")
            print("\n".join(f"  {screen.visible(line)}" for line in lines))
        elif content != "":
            print(f"{screen.visible(name):<{width}}  {screen.visible(str(content))}")
