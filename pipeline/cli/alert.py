"""`hookline alert test`: send one message to whoever an alert of the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cli import options, screen, switching

if TYPE_CHECKING:
    import argparse


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "alert", help="try an alert", description="Try an alert: see that its message reaches somebody."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    testing = actions.add_parser(
        "test",
        help="send one message to it",
        description="Send one message that says it is a test to an alert of hookline.yaml, as a worker would. Exit "
        "code 1 if it is not taken.",
    )
    testing.add_argument("name", metavar="NAME", help="the alert")
    options.add_config(testing)
    options.add_json(testing)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks for some seconds. Raises ConfigError."""
    from pipeline.app.alerting import attempt  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.config import alerts  # noqa: PLC0415
    from pipeline.config.load import load  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415

    config = load(args.config, args.env)
    name = switching.known("NAME", args.name, config.alerts, "alert")
    url = alerts.urls(config, Secrets(config.folder), {name: None})[name]
    flaw = attempt(url, f"group {config.group}, hookline alert test")
    if args.json:
        screen.print_json({"alert": name, "sent": not flaw, "flaw": flaw})
    else:
        print(f"{name}: {flaw or 'the message was taken; see that it arrived'}")
    return 1 if flaw else 0
