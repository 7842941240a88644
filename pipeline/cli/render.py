"""`hookline render`: the requests one event would cause, step by step; nothing is sent."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen
from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.config.models import Config
    from pipeline.config.shown import Masking
    from pipeline.testing.stage.endpoints import Request
    from pipeline.testing.stage.perform import Performance, Performer, Sent

OK: Final = 0
NOTHING: Final = 1
FILE_BYTES_MAX: Final = 1_048_576
LATER_MS: Final = 1_000
_JSON: Final = (".json", ".jsonl")


@value
class Rendered:
    """One step: how it would end, why, and its request as it may be shown, if there is one."""

    journey: str
    status: str
    step: str
    outcome: str
    why: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: object


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "render",
        help="show the requests an event would cause",
        description="Show the requests one event would cause: for each step of each journey it starts, drafts "
        "included, the request with its headers, or why there is none. Nothing is sent, Kafka and secrets are not "
        "needed: credentials and signatures are left out, and systems answer as their contracts say. Personal data is "
        "masked. Exit code 1 if the event starts no journey.",
    )
    parser.add_argument(
        "event", metavar="EVENT", type=pathlib.Path,
        help="a file: .json with the event as conditions see it, else a record's value in Avro as Kafka has it",
    )  # fmt: skip
    parser.add_argument("--topic", help="the input topic an Avro value is from; needed if there are several")
    parser.add_argument(
        "--consent", type=_consent, action="append", default=[], metavar="KEY=STATE",
        help="consent of a JSON event's customer, such as email=granted; repeatable",
    )  # fmt: skip
    parser.add_argument("--reveal", action="store_true", help="show values that may be personal data")
    options.add_config(parser)
    options.add_json(parser)
    parser.set_defaults(run=execute)


def _consent(text: str) -> tuple[str, str]:
    key, _, state = text.partition("=")
    if not key or state not in ("granted", "denied"):
        raise argparse.ArgumentTypeError("must be KEY=granted or KEY=denied")
    return key, state


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks. Raises ConfigError."""
    from pipeline.config import modes  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.config.shown import Masking, entry  # noqa: PLC0415
    from pipeline.testing.stage import declared  # noqa: PLC0415
    from pipeline.testing.stage.perform import Arrival  # noqa: PLC0415

    config, readers = options.checked(args)
    performer, sent = _json(args, config, readers) if args.event.suffix in _JSON else _avro(args, config, readers)
    event = performer.event(sent)
    if isinstance(event, str):
        raise options.refuse(str(args.event), f"is no event: {event}")
    performed = performer.perform(
        [Arrival(event.time_ms + LATER_MS, [sent])], declared.script(config), rows=declared.rows(config)
    )
    masking = None if args.reveal else Masking(config, entry(config, event.type), readers)
    rendered = list(_steps(config, performed, event.id, masking))
    if said := modes.said(config):
        print(said, file=sys.stderr)
    if args.json:
        screen.print_json({"event_id": event.id, "event_type": event.type, "steps": rendered})
    else:
        for each in rendered:
            print("\n".join(_lines(each)))
        if not rendered:
            print(f"{event.type} starts no journey", file=sys.stderr)
        elif masking is not None:
            print("personal data is masked; --reveal shows it")
    return OK if rendered else NOTHING


def _read(path: pathlib.Path) -> bytes:
    try:
        with path.open("rb") as source:
            content = source.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise options.refuse(str(path), f"cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise options.refuse(str(path), f"is larger than {FILE_BYTES_MAX} bytes")
    return content


def _json(args: argparse.Namespace, config: Config, readers: dict[str, Any]) -> tuple[Performer, Sent]:
    from pipeline.config.cases import SOME_ID, merged  # noqa: PLC0415
    from pipeline.config.plain import NoEventError  # noqa: PLC0415
    from pipeline.testing.stage.perform import Events  # noqa: PLC0415

    try:
        given = json.loads(_read(args.event))
    except (ValueError, RecursionError):
        raise options.refuse(str(args.event), "is not JSON") from None
    if not isinstance(given, dict):
        raise options.refuse(str(args.event), "must be a JSON object")
    events = Events(config, readers, config.journeys)
    event = merged({"id": SOME_ID}, merged(given, {"consent": dict(args.consent)}))
    try:
        return events.performer(), events.record(event)
    except NoEventError as error:
        hint = "leave it out, and one that stands for any is taken" if error.place == "id" else ""
        raise options.refuse(str(args.event), f"is no event: {error}", hint) from None


def _avro(args: argparse.Namespace, config: Config, readers: dict[str, Any]) -> tuple[Performer, Sent]:
    import asyncio  # noqa: PLC0415

    from pipeline.adapters.schemas import KnownSchemas  # noqa: PLC0415
    from pipeline.config import staged  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415
    from pipeline.core import decode  # noqa: PLC0415
    from pipeline.model import Undecodable  # noqa: PLC0415
    from pipeline.ports import Found  # noqa: PLC0415
    from pipeline.testing.stage.perform import Performer, Sent, live  # noqa: PLC0415

    topics = list(dict.fromkeys(each.topic for each in config.events))
    if args.topic is None and len(topics) > 1:
        raise options.refuse("--topic", f"is needed: there are {', '.join(topics)}")
    if args.topic is not None and args.topic not in topics:
        raise options.unknown("--topic", args.topic, topics, "input topic")
    content = _read(args.event)
    frame = decode.locate(content, ())
    if isinstance(frame, Undecodable):
        raise options.refuse(str(args.event), f"is no event: {frame.detail}")
    schemas = KnownSchemas.of(config, Secrets(config.folder))
    try:
        found = asyncio.run(schemas.fetch(frame[0]))
    finally:
        schemas.close()
    if not isinstance(found, Found):
        raise options.refuse(str(args.event), f"is of an unknown schema: {found.detail}")
    performer = Performer(staged.bare(live(config, config.journeys)), readers, {frame[0]: found.schema})
    return performer, Sent(args.topic or topics[0], None, content)


def _steps(config: Config, performed: Performance, event_id: str, masking: Masking | None) -> Iterator[Rendered]:
    from pipeline.testing.stage.explain import why  # noqa: PLC0415
    from pipeline.testing.stage.play import step_of  # noqa: PLC0415

    for journey in config.journeys.values():
        ended = performed.ended(event_id, journey.name)
        for step in journey.steps:
            if step.name not in ended:
                continue
            sent = [
                each for each in performed.requests
                if each.journey in ("", journey.name) and step_of(config, journey, each) == step.name
            ]  # fmt: skip
            request = sent[0] if sent else None
            said = "" if request is not None else why(config, journey, step.name, ended[step.name], ended)
            shown = ("", "", {}, None) if request is None else _shown(config, request, step, masking)
            yield Rendered(journey.name, journey.status, step.name, ended[step.name].text, said, *shown)


def _shown(
    config: Config, request: Request, step: Any, masking: Masking | None
) -> tuple[str, str, Mapping[str, str], object]:
    from pipeline.testing.stage.play import body_of  # noqa: PLC0415

    url = config.destinations[request.destination].base_url
    base = (url if isinstance(url, str) else f"https://{url.host}/…").rstrip("/")
    content = body_of(request)
    target = request.target if masking is None else masking.target(step)
    return request.method, base + target, request.headers, content if masking is None else masking.body(step, content)


def _lines(rendered: Rendered) -> Iterator[str]:
    draft = f" ({rendered.status})" if rendered.status != "live" else ""
    yield f"{rendered.journey}{draft}, {rendered.step}: {rendered.outcome}"
    if rendered.why:
        yield f"  {rendered.why}"
    if rendered.method:
        yield f"  {rendered.method} {rendered.url}"
        for name, text in rendered.headers.items():
            if name not in ("host", "content-length", "user-agent", "accept-encoding"):
                yield f"  {name}: {text}"
        if rendered.body is not None:
            text = json.dumps(rendered.body, ensure_ascii=False, indent=2)
            yield from (f"  {screen.visible(line)}" for line in text.splitlines())
    yield ""
