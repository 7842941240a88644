"""`hookline topics`: create the topics a configuration needs, or check those there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.cli import options, screen
from pipeline.core import topics_plan

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from pipeline.adapters.kafka.admin import Admin, TopicState
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
        "control, consent, suppressions).",
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
        description="Compare every topic with what it must be; each deviation comes with its remedy. Exit code 1 if "
        "anything is wrong.",
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
    return _create(args, config, admin) if args.action == "create" else _check(args, config, admin)


# ------------------------------------------------------------------------------------------------- what is wanted


def wanted(
    config: Config, there: Mapping[str, TopicState], partitions: int | None = None, input_partitions: int = 0
) -> tuple[Wanted, ...]:
    """Return every topic the configuration needs, given the input topics there are."""
    from pipeline.config import remember, topics  # noqa: PLC0415

    inputs = topics.inputs(config)
    found = [there[name] for name in inputs if name in there]
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
            memory_partitions=max((state.partitions for state in found), default=input_partitions),
            logs=tuple(topics.logs(config).values()),
        ),
    )  # fmt: skip


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


def _check(args: argparse.Namespace, config: Config, admin: Admin) -> int:
    there = _states(config, admin)
    plan = wanted(config, there)
    findings = topics_plan.examine(plan, _present(there))
    if args.json:
        topics = [
            {
                "topic": each.name,
                "role": each.role,
                "partitions": there[each.name].partitions if each.name in there else 0,
            }
            for each in plan
        ]
        screen.print_json({"topics": topics, "findings": findings})
    else:
        _print(findings)
        wrong = sum(each.serious for each in findings)
        print(f"{len(plan)} topics, {wrong} problem{'' if wrong == 1 else 's'}")
    return int(any(each.serious for each in findings))


def _print(findings: Sequence[Finding]) -> None:
    for each in findings:
        print(f"{'' if each.serious else 'note: '}{each.topic}: {each.what}")
        print(f"    because {each.why}")
        print(f"    remedy: {each.remedy}")
