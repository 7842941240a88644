"""Runs workers in a process, one at a time, until a signal; a new one when the configuration changes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.adapters.kafka.admin import Admin
from pipeline.adapters.schemas import KnownSchemas
from pipeline.app import keys, memory
from pipeline.app.health import HealthServer
from pipeline.app.reload import Reload
from pipeline.app.worker import DRAIN_S, Worker
from pipeline.config import topics
from pipeline.config.compile import compile as compile_config
from pipeline.config.load import kafka_settings
from pipeline.config.secrets import Secrets
from pipeline.errors import TopicMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.config.models import Config

SAME_SIGNAL_S: Final = 1.0
"""A terminal and systemd signal a whole group: the supervisor's own signal to its workers then comes second."""


async def work(
    config: Config,
    *,
    index: int = 0,
    drain_s: float = DRAIN_S,
    supervised: bool = False,
    probes: tuple[str, int] | None = None,
) -> None:
    """Run one worker until SIGTERM or SIGINT; a second one ends the process at once, uncommitted (exit 1).

    SIGHUP, or a change of the configuration's files, puts a new worker in its place if that is fit to run. Probes are
    answered at host and port, the latter raised by `index`. Raises ConfigError if nothing can listen there.
    """
    loop = asyncio.get_running_loop()
    worker: Worker | None = None
    asked_s = 0.0

    def log(level: str, name: str, **fields: object) -> None:
        if worker is not None:
            worker.telemetry.log(level, name, **fields)

    def on_signal() -> None:
        nonlocal asked_s
        if asked_s and supervised and loop.time() - asked_s < SAME_SIGNAL_S:
            return
        if asked_s:
            log("warning", "worker_killed", reason="second signal")
            os._exit(1)
        asked_s = loop.time()
        if worker is not None:
            worker.stop()

    health = HealthServer(lambda: worker.halts() if worker is not None and worker.intakes else None)
    if probes is not None:
        await health.start(probes[0], probes[1] + index)
    reload = Reload(config, partial(rehearse, log=log), log)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, reload.ask)
    current: Config | None = config
    try:
        while current is not None and not asked_s:
            gc.unfreeze()
            worker = Worker(current, worker_id=worker_identity(index), drain_s=drain_s, reload=reload)
            current = await _until_changed(worker, reload)
    finally:
        await health.close()


async def _until_changed(worker: Worker, reload: Reload) -> Config | None:
    """Run a worker to its end; return the configuration that takes over if that was the reason."""
    following = asyncio.create_task(reload.changed())

    def on_change(task: asyncio.Task[Config]) -> None:
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            worker.fatal(error)
        worker.stop()

    following.add_done_callback(on_change)
    try:
        await worker.run()
    finally:
        following.cancel()
    return following.result() if following.done() and not following.cancelled() else None


def rehearse(config: Config, log: Callable[..., None]) -> None:
    """Do what a worker does before it takes anything: read secrets, compile, ask Kafka for the topics and their keys.

    Blocks, and so is for a thread without a loop. Raises ConfigError, TopicMissing or BrokerError.
    """
    secrets = Secrets(config.folder)
    settings = kafka_settings(config, secrets)
    schemas = KnownSchemas.of(config, secrets)
    try:
        compiled = compile_config(config, secrets, schemas.reader_schemas())
        known = Admin(settings).partitions()
        wanted = (*topics.inputs(config), *topics.lookups(config), *topics.own(config))
        missing = tuple(name for name in wanted if name not in known)
        if missing:
            raise TopicMissing(missing)
        memory.check(config.group, compiled, known)
        asyncio.run(keys.check(config, compiled, settings, schemas, log))
    finally:
        schemas.close()


def worker_identity(index: int) -> str:
    """Name a worker so that a human finds it: host, process, index."""
    return f"{socket.gethostname()}-{os.getpid()}-{index}"
