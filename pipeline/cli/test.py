"""`hookline test`: plays the cases of `tests/*.yaml` on a worker with a clock of its own; nothing is sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeline.cli import options, screen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from pipeline.config.models import Config
    from pipeline.testing.stage.play import Played

OK = 0
FAILED = 1
NO_EVENT = "no case of it delivers something, and no event could be made up that does; write a case"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "test",
        help="play the cases of journeys",
        description="Play the cases of tests/*.yaml: the whole of a worker, from the event's mapping to its outcomes, "
        "on a clock of its own and with answers by script. Nothing is sent, Kafka and secrets are not needed, and "
        "waits take no time. Drafts are played as if they were live. Exit code 1 if anything came out otherwise.",
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="a journey, or the name of a case; default all")
    parser.add_argument(
        "--edge-cases", action="store_true",
        help="play what may happen to any journey instead: missing fields, invalid identifiers, no consent, a spike, "
        "late and repeated events, systems that fail; made of a journey's first case that delivers something, "
        "else of an event that satisfies its conditions",
    )  # fmt: skip
    options.add_config(parser)
    options.add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks. Raises ConfigError."""
    from pipeline.testing.stage.play import Player  # noqa: PLC0415 - commands import what is heavy once they run

    config, readers = options.checked(args)
    if args.edge_cases:
        return _edges(args, config, readers)
    chosen = _chosen(config, args.cases)
    began_s = time.monotonic()
    played: list[Played] = []
    for name, numbers in chosen.items():
        player = Player(config, readers, name)
        played += map(player.play, numbers)
    failed = sum(bool(each.differences) for each in played)
    if args.json:
        screen.print_json({"cases": [_told(each) for each in played], "passed": len(played) - failed, "failed": failed})
    else:
        for each in played:
            print("\n".join(_lines(each)))
        took = f"in {time.monotonic() - began_s:.1f} s"
        print(f"{len(played) - failed} of {len(played)} cases came out as expected, {took}")
    return FAILED if failed else OK


def _edges(args: argparse.Namespace, config: Config, readers: dict[str, Any]) -> int:
    from pipeline.testing.stage.edges import Edges  # noqa: PLC0415

    for word in args.cases:
        if word not in config.journeys:
            raise options.unknown("CASE", word, config.journeys, "journey")
    checked, without = [], []
    for name in args.cases or config.journeys:
        try:
            edges = Edges(config, readers, name)
        except KeyError:
            without.append(name)
            if not args.json:
                print(f"skip  {name}: {NO_EVENT}", flush=True)
            continue
        for each in edges.play():
            checked.append(each)
            if not args.json:
                print(f"{'FAIL' if each.flaws else 'ok':5} {each.journey}: {each.name}", flush=True)
                for flaw in each.flaws:
                    print(f"      {flaw}")
    failed = sum(bool(each.flaws) for each in checked)
    if args.json:
        numbers = {"passed": len(checked) - failed, "failed": failed}
        screen.print_json({"edge_cases": checked, **numbers, "skipped_journeys": without})
    else:
        skipped = f"; skipped: {', '.join(without)}" if without else ""
        print(f"{len(checked) - failed} of {len(checked)} edge cases hold{skipped}")
    return FAILED if failed or (without and not checked) else OK


def _chosen(config: Config, wanted: list[str]) -> dict[str, list[int]]:
    """Return the cases to play, by file; all without a choice. Raises ConfigError for a choice that means none."""
    known: dict[str, list[tuple[str, int]]] = {}
    for name, file in config.cases.items():
        for index, case in enumerate(file.cases):
            for word in dict.fromkeys((file.journey, case.name)):
                known.setdefault(word, []).append((name, index))
    if not known:
        raise options.refuse("tests/", "there are no cases: each is a file tests/NAME.yaml")
    for word in wanted:
        if word not in known:
            raise options.unknown("CASE", word, known, "journey or case")
    picked = {place for word in wanted or known for place in known[word]}
    return {
        name: numbers
        for name, file in config.cases.items()
        if (numbers := [index for index in range(len(file.cases)) if (name, index) in picked])
    }


def _lines(played: Played) -> Iterator[str]:
    if not played.differences:
        yield f"ok    {played.journey}: {played.name}"
        return
    yield f"FAIL  {played.journey}: {played.name} ({played.file}:{played.place.line})"
    for each in played.differences:
        at = f"{each.place.file}:{each.place.line}"
        what = each.step if each.what == "outcome" else f"{each.step} {each.what}".strip()
        yield f"      {what}: expected {each.expected}, got {each.got} ({at})"
        if each.why:
            yield f"        {each.why}"


def _told(played: Played) -> dict[str, object]:
    return {
        "file": played.file,
        "line": played.place.line,
        "journey": played.journey,
        "case": played.name,
        "passed": not played.differences,
        "outcomes": played.outcomes,
        "differences": [
            {
                "line": each.place.line, "step": each.step, "what": each.what, "expected": each.expected,
                "got": each.got, "why": each.why,
            }
            for each in played.differences
        ],
    }  # fmt: skip
