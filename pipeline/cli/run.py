"""`hookline run`: one worker, or N of them on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.config.models import Config
    from pipeline.errors import ConfigError

WORKERS_MAX: Final = 64
PORT_MAX: Final = 65_535 - WORKERS_MAX
"""Each of the workers finds a port above it."""
DRAIN_MAX_S: Final = 50
"""Last acks and commits included, a drain ends before the supervisor loses patience after 80 s."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "run",
        help="consume events and deliver webhook actions",
        description="Consume events and deliver webhook actions until SIGTERM or SIGINT. The first signal drains: "
        "nothing new starts, attempts under way end, the rest is handed to the retry topics, offsets are committed. "
        "A second one stops at once; what was in flight is then done again. When files of the configuration change, "
        "or on SIGHUP, one that is fit to run takes over, after such a drain; one that is not is refused, with its "
        "problems in log and status, and the old one goes on. What becomes of requests is the mode of the environment: "
        "live sends them; redirect sends all of them to redirect_to, with where they would have gone in the header "
        "hookline-original-url; dry does everything but send.",
    )
    parser.add_argument("--config", type=Path, default=Path(), metavar="DIR", help="configuration folder (default: .)")
    parser.add_argument("--env", metavar="NAME", help="environment: env/NAME.yaml of the folder; needed")
    parser.add_argument(
        "--workers", type=options.whole(1, WORKERS_MAX), default=1, metavar="N",
        help="processes on this machine (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--drain",
        type=options.whole(0, DRAIN_MAX_S),
        default=20,
        metavar="SECONDS",
        help="one deadline for a graceful stop (default: 20)",
    )
    parser.add_argument(
        "--health", metavar="[HOST:]PORT", type=_address, default=None,
        help="answer probes there (default host: 127.0.0.1): GET /live and GET /health; of several workers, each one "
        "port higher than the one before",
    )  # fmt: skip
    parser.add_argument("--worker-index", type=int, default=None, help=argparse.SUPPRESS)  # for the supervisor
    parser.set_defaults(run=execute)


def _address(text: str) -> tuple[str, int]:
    """Read `[HOST:]PORT`; raises ArgumentTypeError for anything else."""
    host, colon, port = text.rpartition(":")
    if not port.isdecimal() or not 1 <= int(port) <= PORT_MAX or (colon and not host):
        raise argparse.ArgumentTypeError(f"must be HOST:PORT or PORT, 1 to {PORT_MAX}")
    return host.strip("[]") or "127.0.0.1", int(port)


def execute(args: argparse.Namespace) -> int:
    """Run until stopped. Exit 0 after a graceful stop, 1 after a failure, 2 for configuration or topics."""
    from pipeline.config.load import load  # noqa: PLC0415 - keep `hookline --help` fast

    if args.env is None:
        raise _unsaid(args.config)
    config = load(args.config, args.env)
    if args.workers > 1 and args.worker_index is None:
        return _supervise(args)
    return _work(config, args)


def _unsaid(folder: Path) -> ConfigError:
    """Make the error for an environment that was not named: there is no default, lest a test reach customers."""
    there = ", ".join(sorted(each.stem for each in (folder / "env").glob("*.yaml")))
    hint = f"there are: {there}" if there else "begin with env/NAME.yaml: mode: dry, redirect or live"
    return options.refuse("--env", "is needed: an environment says what becomes of requests", hint)


def _work(config: Config, args: argparse.Namespace) -> int:
    import uvloop  # noqa: PLC0415

    from pipeline.app.serve import work  # noqa: PLC0415

    supervised = args.worker_index is not None
    uvloop.run(
        work(config, index=args.worker_index or 0, drain_s=args.drain, supervised=supervised, probes=args.health)
    )  # fmt: skip
    return 0


def _supervise(args: argparse.Namespace) -> int:
    from pipeline.app.supervisor import Supervisor  # noqa: PLC0415

    def command(index: int) -> Sequence[str]:
        return [
            sys.executable, "-m", "pipeline", "run", "--config", str(args.config), "--env", args.env,
            "--drain", str(args.drain), "--worker-index", str(index),
            *(("--health", f"{args.health[0]}:{args.health[1]}") if args.health is not None else ()),
        ]  # fmt: skip

    return Supervisor(args.workers, command, lambda line: print(line, file=sys.stderr, flush=True)).run()
