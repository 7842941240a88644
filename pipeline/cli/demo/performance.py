"""Performs a demo, whatever is played: its folder, its broker and topics, how it is interrupted, what stays of it."""

from __future__ import annotations

import contextlib
import signal
import uuid
from typing import TYPE_CHECKING, Final

from pipeline.adapters.kafka.admin import Admin
from pipeline.adapters.kafka.embedded import EmbeddedBroker
from pipeline.cli import screen
from pipeline.cli.demo.folder import ENV, Folder
from pipeline.cli.demo.processes import call, output_of
from pipeline.config import topics
from pipeline.config.load import kafka_settings, load
from pipeline.config.secrets import Secrets
from pipeline.errors import BrokerError, HooklineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rich.console import Console

    from pipeline.config.models import Config

PARTITIONS: Final = "4"
INTERRUPTED: Final = 130


def perform(play: Callable[[Console, contextlib.ExitStack, Folder], bool], *, keep: bool) -> int:
    """Play to the end; return 0 if all is well, 1 if not, 130 if interrupted.

    What `play` starts it hands to the stack, which ends it in reverse. The folder stays if it is to be kept, or if
    something went wrong. Raises what `play` does.
    """
    console = screen.console()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    with contextlib.ExitStack() as cleanup:
        folder = Folder(spent=not keep)
        cleanup.callback(folder.leave)
        try:
            good = play(console, cleanup, folder)
            folder.spent &= good
        except KeyboardInterrupt:
            console.print("\nInterrupted. Ending the worker ...")
            return INTERRUPTED
        except HooklineError:
            folder.spent = not folder.log.exists()
            raise
        finally:
            if not folder.spent:
                console.print(f"The folder stays: {folder.path}", soft_wrap=True)
    return 0 if good else 1


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def prepare(
    source: Path,
    bootstrap: str | None,
    urls: Mapping[str, str],
    secret_name: str,
    folder: Folder,
    cleanup: contextlib.ExitStack,
    *,
    keep: bool = False,
) -> tuple[Config, dict[str, str]]:
    """Write the configuration in `source` to the folder and make its topics; return it, and librdkafka's settings.

    On an embedded broker, or, under names nobody else has, on the Kafka at `bootstrap`, where they are deleted in the
    end unless they are to be kept. Raises BrokerError.
    """
    if bootstrap is None:
        broker = EmbeddedBroker()
        cleanup.callback(broker.close)
        folder.write(source, "", broker.bootstrap, urls, secret_name)
    else:
        folder.write(source, f"demo-{uuid.uuid4().hex[:8]}", bootstrap, urls, secret_name)
    config = load(folder.config, ENV)
    settings = kafka_settings(config, Secrets(config.folder))
    names = (*topics.inputs(config), *topics.own(config))
    if bootstrap is None:
        broker.make(names)
        return config, settings
    Admin(settings).partitions()  # says it in one line if there is no Kafka
    if not keep:
        cleanup.callback(_delete, settings, names)
    code, _ = output_of(call("topics", "create", "--with-input", PARTITIONS, config=folder.config), folder.log)
    if code:
        raise BrokerError(f"hookline topics create failed, exit code {code}{folder.log_end()}")
    return config, settings


def _delete(settings: dict[str, str], names: tuple[str, ...]) -> None:
    """Take the topics away; if Kafka has gone too, they stay."""
    with contextlib.suppress(BrokerError):
        Admin(settings).delete(names)
