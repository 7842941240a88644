"""`hookline topics`: create the topics a configuration needs, or check those there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.cli import options, screen
from pipeline.core import topics_plan

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from pipeline.adapters.kafka.admin import Admin, TopicState
    from pipeline.app.keys import Sampled
    from pipeline.config.models import Config
    from pipeline.core.topics_plan import Finding, Wanted

PARTITIONS_MAX: Final = 10_000
"""Most partitions one topic is created with."""
KAFKA_MAX_MESSAGE_BYTES: Final = 1_048_588
"""Kafka's default `max.message.bytes`, for an input topic that is yet to be created."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "topics",
        help="create or check the topics a configuration needs",
        description="The topics a configuration needs: its inputs, and the group's own (retry tiers, dead, outcomes, "
        "control, consent, suppressions; memory and events where journeys remember).",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    create = actions.add_parser(
        "create",
        help="create what is missing",
        description="Create the group's own topics that are missing; topics that are there are never altered. Exit "
        "code 1 if something stays wrong (see `check`).",
    )
    check = actions.add_parser(
        "check",
        help="say what is wrong and how to put it right",
        description="Compare every topic with what it must be; each deviation comes with its remedy. Where journeys "
        "remember, look at the newest records of the input for customers on several partitions, which workers refuse. "
        "Exit code 1 if anything is wrong.",
    )
    for each in (create, check):
        options.add_config(each)
        options.add_json(each)
    create.add_argument(
        "--partitions",
        metavar="N",
        type=options.whole(1, PARTITIONS_MAX),
        help="of retry, dead and outcomes (default: as the largest input)",
    )
    create.add_argument(
        "--with-input",
        metavar="N",
        type=options.whole(1, PARTITIONS_MAX),
        help="create missing input topics too, with N partitions (development)",
    )
    create.add_argument("--dry-run", action="store_true", help="only say what would be created")
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks on Kafka. Raises ConfigError, BrokerError."""
    from pipeline.adapters.kafka.admin import Admin  # noqa: PLC0415 - commands import what is heavy once they run

    config, settings = options.load(args)
    admin = Admin(settings)
    return _create(args, config, admin) if args.action == "create" else _check(args, config, settings, admin)


# ------------------------------------------------------------------------------------------------- what is wanted


def wanted(
    config: Config, there: Mapping[str, TopicState], partitions: int | None = None, input_partitions: int = 0
) -> tuple[Wanted, ...]:
    """Return every topic the configuration needs, given the input topics there are."""
    from pipeline.config import remember, topics  # noqa: PLC0415

    inputs = topics.inputs(config)
    found = [there[name] for name in inputs if name in there]
    copies = topics.events(config.group) if remember.rekeyed(config) else ""
    sizes = [int(state.configs.get("max.message.bytes", KAFKA_MAX_MESSAGE_BYTES)) for state in found]
    return (
        *topics_plan.inputs(inputs, input_partitions),
        *topics_plan.lookups(topics.lookups(config)),
        *topics_plan.own(
            topics.retry_topics(config), topics.dead(config.group), topics.outcomes(config.group),
            topics.control(config.group), topics.tables(config.group),
            partitions=partitions or max((input_partitions, 1, *(state.partitions for state in found))),
            input_bytes=max(sizes, default=KAFKA_MAX_MESSAGE_BYTES),
            longest_age_ms=_longest_age_ms(config),
            dead_ms=config.retention.dead_ms, outcomes_ms=config.retention.outcomes_ms,
            memory=topics.memory(config.group) if remember.used(config) else "",
            memory_ms=config.retention.memory_ms,
            logs=tuple(topics.logs(config).values()),
            memory_partitions=_remembering(there, found, copies, topics.memory(config.group), input_partitions),
            copies=copies,
        ),
    )  # fmt: skip


def _remembering(
    there: Mapping[str, TopicState], inputs: Sequence[TopicState], copies: str, memory: str, input_partitions: int
) -> int:
    """Return how many partitions the memory topic must have: those of the copies, else those of the input.

    Copies are new where events were not copied before: then they go by the memory there is, so that it stays in place.
    """
    for name in (copies, memory) if copies else ():
        if name in there:
            return there[name].partitions
    return max((state.partitions for state in inputs), default=input_partitions)


def _longest_age_ms(config: Config) -> int:
    """A run waits no longer than its event's `max_age`, nor than the destination's `retry.max_age`."""
    ages = [journey.trigger.max_age_ms for journey in config.journeys.values()]
    retries = [destination.retry.max_age_ms for destination in config.destinations.values()]
    return min(max(ages, default=0), max(retries, default=0))


def _present(states: Mapping[str, TopicState]) -> dict[str, topics_plan.Present]:
    return {name: topics_plan.Present(state.partitions, state.configs) for name, state in states.items()}


def _states(config: Config, admin: Admin) -> dict[str, TopicState]:
    from pipeline.config import topics  # noqa: PLC0415

    return admin.topics((*topics.inputs(config), *topics.lookups(config), *topics.own(config)))


# -------------------------------------------------------------------------------------------------------- actions


def _create(args: argparse.Namespace, config: Config, admin: Admin) -> int:
    before = _states(config, admin)
    plan = wanted(config, before, args.partitions, args.with_input or 0)
    missing = [each for each in plan if each.name not in before and each.partitions]
    created = missing if args.dry_run else [each for each in missing if _made(admin, each)]
    # A broker may not know yet what another one has just created.
    present = {each.name: _as_created(each) for each in missing}
    present |= _present(before if args.dry_run else _states(config, admin))
    findings = topics_plan.examine(plan, present)
    if args.json:
        screen.print_json(
            {
                "created": [
                    {"topic": each.name, "partitions": each.partitions, "configs": topics_plan.configs(each)}
                    for each in created
                ],
                "dry_run": args.dry_run,
                "findings": findings,
            }
        )
    else:
        for each in created:
            verb = "would create" if args.dry_run else "created"
            print(f"{verb} {each.name} ({each.partitions} partition{'s' if each.partitions > 1 else ''})")
        if not created:
            print("nothing to create")
        _print(findings)
    return int(any(each.serious for each in findings))


def _made(admin: Admin, topic: Wanted) -> bool:
    return admin.create(topic.name, topic.partitions, topics_plan.configs(topic))


def _as_created(topic: Wanted) -> topics_plan.Present:
    return topics_plan.Present(topic.partitions, topics_plan.configs(topic))


def _check(args: argparse.Namespace, config: Config, settings: Mapping[str, str], admin: Admin) -> int:
    there = _states(config, admin)
    plan = wanted(config, there)
    said, sampled = _keys(config, settings, there)
    findings = (*topics_plan.examine(plan, _present(there)), *(_scattered(each) for each in sampled if each.scattered))
    if args.json:
        topics = [
            {
                "topic": each.name,
                "role": each.role,
                "partitions": there[each.name].partitions if each.name in there else 0,
            }
            for each in plan
        ]
        screen.print_json({"topics": topics, "findings": findings, "keys": sampled})
    else:
        _print(findings)
        for line in said:
            print(line)
        wrong = sum(each.serious for each in findings)
        print(f"{len(plan)} topics, {wrong} problem{'' if wrong == 1 else 's'}")
    return int(any(each.serious for each in findings))


def _keys(
    config: Config, settings: Mapping[str, str], there: Mapping[str, TopicState]
) -> tuple[list[str], tuple[Sampled, ...]]:
    """Look whether inputs are keyed by customer where they must be; return what is said of it, and what was found."""
    import asyncio  # noqa: PLC0415

    from pipeline.adapters.schemas import KnownSchemas  # noqa: PLC0415
    from pipeline.app import keys  # noqa: PLC0415
    from pipeline.config import remember, topics  # noqa: PLC0415
    from pipeline.config.compile import compile as compile_config  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415
    from pipeline.config.staged import bare  # noqa: PLC0415
    from pipeline.errors import ConfigError  # noqa: PLC0415

    if not remember.used(config):
        return ["keys: any will do, since no journey remembers"], ()
    if remember.rekeyed(config):
        copies = topics.events(config.group)
        return [f"keys: any will do, since events are copied into {copies} under their customers' IDs"], ()
    if any(name not in there for name in topics.inputs(config)):
        return ["keys: not looked at, an input is missing"], ()
    schemas = KnownSchemas.of(config, Secrets(config.folder))
    try:
        compiled = compile_config(bare(config), Secrets(config.folder, {}), schemas.reader_schemas())
        sampled = asyncio.run(keys.sample(compiled, settings, schemas, _unlogged))
    except ConfigError:
        return ["keys: not looked at, since the configuration has problems; see hookline validate"], ()
    finally:
        schemas.close()
    return [
        f"keys of {each.topic}: {each.records:,} of its newest records looked at, {each.events:,} events of "
        f"{each.customers:,} customers; {'refused' if each.scattered else 'nothing speaks against them'}"
        for each in sampled
    ], sampled


def _scattered(sampled: Sampled) -> Finding:
    from pipeline.app import keys  # noqa: PLC0415

    why = "what is remembered of customers is kept by partition: workers refuse to start"
    return topics_plan.Finding(sampled.topic, f"is not partitioned by customer: {sampled.what}", why, keys.REMEDY)


def _unlogged(*_: object, **__: object) -> None:
    """What a log line would say is printed."""


def _print(findings: Sequence[Finding]) -> None:
    for each in findings:
        print(f"{'' if each.serious else 'note: '}{each.topic}: {each.what}")
        print(f"    because {each.why}")
        print(f"    remedy: {each.remedy}")
