"""Builds one worker by hand and owns its start and stop order: intakes start last and stop first."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from typing import TYPE_CHECKING, Any, Final

from pipeline import __version__
from pipeline.adapters.alerts import AppriseNotifier
from pipeline.adapters.kafka.admin import Admin
from pipeline.adapters.kafka.control import ControlTopic
from pipeline.adapters.kafka.logs import Logs
from pipeline.adapters.kafka.producer import KafkaProducer
from pipeline.adapters.kafka.source import KafkaSource
from pipeline.adapters.schemas import KnownSchemas
from pipeline.adapters.telemetry import OtelTelemetry, names
from pipeline.app import keys, memory
from pipeline.app.alerting import Alerting, recipients
from pipeline.app.definitions import keep, publish
from pipeline.app.endpoints import Endpoint, Rotation
from pipeline.app.heartbeat import Heartbeat
from pipeline.app.lookups import CustomerRows
from pipeline.app.measures import export
from pipeline.app.modes import ModeGuard
from pipeline.app.reference import customer_reference
from pipeline.app.retention import delete_settled
from pipeline.app.share import share
from pipeline.app.switchboard import Switchboard
from pipeline.app.tables import CustomerTables, basis_asks, state_folder
from pipeline.app.taking import Watched, watched
from pipeline.config import rows, topics
from pipeline.config.compile import compile as compile_config
from pipeline.config.load import kafka_settings
from pipeline.config.secrets import Secrets
from pipeline.core.brake import BrakePolicy
from pipeline.core.offsets import Tracker
from pipeline.errors import BrokerError, ConfigError, TopicMissing
from pipeline.ports import LaneStats
from pipeline.run.asking import Asking
from pipeline.run.batch import Batching
from pipeline.run.consume import Intake
from pipeline.run.dispatch import Lane
from pipeline.run.lines import TurnTracker
from pipeline.run.process import Process
from pipeline.run.rekey import Rekey
from pipeline.run.release import Release
from pipeline.run.settle import OwnTopics, Settlement
from pipeline.run.turns import Turns
from pipeline.run.watch import Watch

if TYPE_CHECKING:
    from pipeline.app.reload import Reload
    from pipeline.config.models import Config
    from pipeline.ports import Halt
    from pipeline.run.memory import Recall
    from pipeline.run.misses import Misses
    from pipeline.run.suspects import Suspects

DRAIN_S: Final = 20.0
"""Default of one deadline for everything a graceful stop does, acks included."""
FLUSH_S: Final = 5.0
"""Bound on the last acks after the intakes are closed."""
GC_THRESHOLD: Final = 50_000
"""Allocations between young collections: the hot path makes no cycles, so looking for them is rarely worth it."""


class Worker:
    """One process's worth of Hookline. Build on the running loop, `run` once."""

    def __init__(
        self, config: Config, *, worker_id: str, drain_s: float = DRAIN_S, reload: Reload | None = None
    ) -> None:
        """Read secrets and compile the configuration; nothing is contacted yet. Raises ConfigError."""
        secrets = self._secrets = Secrets(config.folder)
        self._config = config
        self.mode = config.mode
        self.reload = reload
        self._worker_id = worker_id
        self._drain_s = drain_s
        self._settings = kafka_settings(config, secrets)
        self._admin = Admin(self._settings)
        self._schemas = KnownSchemas.of(config, secrets)
        self._compiled = compile_config(config, secrets, self._schemas.reader_schemas())
        self.telemetry = OtelTelemetry.of(config, worker_id)
        self._alerting: Alerting | None = None
        self._asking = Asking(self._compiled.gates, statuses=self._compiled.statuses)
        self._recipients = recipients(config, secrets)
        self._stopping = asyncio.Event()
        self._removed: dict[str, int] = {}
        self._logs: tuple[str, ...] = ()
        self._error: BaseException | None = None
        self._producer: KafkaProducer | None = None
        self.lanes: dict[str, Lane] = {}
        self._watch: Watch | None = None
        self._endpoints: dict[str, Endpoint] = {}
        self.intakes: list[Intake] = []
        self.turns: Turns | None = None
        self.settlement: Settlement | None = None
        self.misses: Misses | None = None
        self.switchboard: Switchboard | None = None
        self._control: ControlTopic | None = None
        self._taking: Watched | None = None
        self._suspects: Suspects | None = None
        self._tables: CustomerTables | None = None
        self._rows: CustomerRows | None = None
        self._recall: Recall | None = None

    async def run(self) -> None:
        """Work until `stop` is called or something fatal happens; then stop gracefully, or at once and uncommitted.

        Raises what was fatal: BrokerError, TopicMissing, or a Bug of ours; ConfigError for an input keyed otherwise.
        """
        asyncio.get_running_loop().set_exception_handler(self._broken)
        self._limits = await asyncio.to_thread(self._check_topics)
        await keys.check(self._config, self._compiled, self._settings, self._schemas, self.telemetry.log)
        producer = self._producer = KafkaProducer(self._settings, self.fatal, self.telemetry.log, self._limits)
        settlement = self.settlement = self._settlement(producer)
        rotating = self._open_lanes(settlement)
        control_topic = topics.control(self._config.group)
        self.switchboard = Switchboard(
            self._config, self._worker_id, control_topic, producer, self.lanes, self.telemetry, time.time_ns,
            self._share, self._compiled.definitions, mode := ModeGuard(self._config, self.fatal),
        )  # fmt: skip
        self._control = ControlTopic(self._settings, control_topic, self.telemetry.log, self.fatal)
        await self.switchboard.start(self._control)
        try:
            mode.begin(producer, control_topic, time.time_ns)
        except ConfigError:
            rotating.cancel()
            await self._close(producer)
            raise
        cluster_id = await asyncio.to_thread(self._admin.cluster_id)
        taking = self._taking = await asyncio.to_thread(watched, self._config, cluster_id, self.telemetry.log)
        self.switchboard.died_over(taking.found)
        definitions = self._compiled.definitions, producer, control_topic, time.time_ns, self.switchboard.outdated
        await publish(*definitions)
        await self._start_tables(producer, cluster_id)
        self._open_intakes(producer, settlement, self.switchboard)
        heartbeat = Heartbeat(self, control_topic, producer, self._worker_id)
        cleaning = asyncio.create_task(delete_settled(self.intakes, self._admin.delete_before, self.telemetry.log))
        keeping = asyncio.create_task(keep(*definitions, self.telemetry.log))
        for task in (cleaning, rotating, keeping):
            task.add_done_callback(self._ended)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        self.telemetry.log(
            "info", "worker_started", worker=self._worker_id, version=__version__, mode=self._config.mode
        )
        try:
            await self._stopping.wait()
            if self._error is None:
                self.telemetry.log("info", "worker_draining", budget_s=self._drain_s)
                await self._drain()
                heartbeat.goodbye()
        finally:
            heartbeat.close()
            cleaning.cancel()
            rotating.cancel()
            keeping.cancel()
            await self._close(producer)
            taking.close()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ask for a graceful stop; idempotent."""
        self._stopping.set()

    def fatal(self, error: BaseException) -> None:
        """Stop at once, without committing: what is in flight is done again by whoever gets the partitions."""
        if self._error is None:
            self._error = error
            self.telemetry.log("critical", "worker_failed", error=type(error).__name__, detail=_first_line(error))
            if self._alerting is not None:
                self._alerting.worker_failed(type(error).__name__)
        for intake in self.intakes:
            intake.halt()
        self._stopping.set()

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take an exception in a callback of the loop, which asyncio only logs, for what it is: fatal.

        What names no callback is noise of the network, such as a transport that broke off.
        """
        error = context.get("exception")
        if error is not None and "handle" in context:
            self.fatal(error)
        else:
            loop.default_exception_handler(context)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fatal(error)

    # ------------------------------------------------------------------------------------------- start

    def _check_topics(self) -> dict[str, int]:
        """Name every missing topic at once; return each own topic's `max.message.bytes`."""
        own = topics.own(self._config)
        known = self._admin.partitions()
        read = (*self._compiled.input_topics, *topics.lookups(self._config))
        missing = tuple(name for name in (*read, *own) if name not in known)
        if missing:
            raise TopicMissing(missing)
        memory.check(self._config.group, self._compiled, known)
        self._read = topics.read(self._config, known)
        self._removed = topics.removed_retry_topics(self._config, known)
        self._logs = (*topics.logs(self._config).values(), *topics.removed_logs(self._config, known))
        return self._admin.max_message_bytes(own)

    async def _start_tables(self, producer: KafkaProducer, cluster_id: str) -> None:
        """Wait until what is known of customers is whole."""
        self._tables = CustomerTables(
            self._config, self._settings, cluster_id, self._schemas, producer, self.telemetry, self.fatal
        )
        await self._tables.start(self._stopping)
        if rows.used(self._config):
            folder = state_folder(self._config, cluster_id)
            self._rows = CustomerRows(
                self._config, self._settings, folder, self._schemas, self.telemetry.log, self.fatal
            )
            await self._rows.start(self._stopping)
            self._asking.lookups = self._rows
            self.telemetry.gauge(names.LOOKUPS_BEHIND, self._rows.stale_ms)
            self.telemetry.gauge(names.LOOKUPS_UNREADABLE, self._rows.unreadable)

    def _settlement(self, producer: KafkaProducer) -> Settlement:
        group = self._config.group
        own = OwnTopics(
            retry=topics.retry_topics(self._config),
            dead=topics.dead(group),
            outcomes=topics.outcomes(group),
            tiers_ms=self._compiled.tiers_ms,
            logs=topics.logs(self._config),
        )
        return Settlement(own, producer, self.telemetry, time.time_ns, _DICE, customer_reference(group))

    def _open_lanes(self, settlement: Settlement) -> asyncio.Task[None]:
        """Open a lane for each destination; return the task that follows changes of their secrets' files."""
        endpoints = self._endpoints
        self._watch = Watch(self.fatal)
        for name, destination in self._compiled.destinations.items():
            stats = LaneStats()
            self.telemetry.watch(name, stats)
            batching = self._batching(name, settlement)
            endpoint = endpoints[name] = Endpoint(destination, self._compiled.access[name], stats, self.telemetry.log)
            self.lanes[name] = Lane(
                destination, endpoint.sender, batching or settlement, self.telemetry, stats, time.time_ns, _DICE,
                self.fatal, self._share, self._watch, endpoint.authentication, batching, self._asking.again,
            )  # fmt: skip
        rotation = Rotation(endpoints, self._compiled.renewed, self._secrets.version, self.telemetry.log)
        return asyncio.create_task(rotation.run())

    def _batching(self, destination: str, settlement: Settlement) -> Batching | None:
        """Return what gathers batches, for a destination with operations that take them."""
        operations = self._config.destinations[destination].operations.values()
        if all(each.batch is None for each in operations):
            return None
        return Batching(settlement, time.time_ns, _DICE, self._asking.again)

    def _open_intakes(self, producer: KafkaProducer, settlement: Settlement, switchboard: Switchboard) -> None:
        config, compiled = self._config, self._compiled
        log, brakes = self.telemetry.log, config.brakes.intake
        brake = BrakePolicy(brakes.share, brakes.of)
        copies = next((name for name, group in self._read.items() if group == topics.events_group(config.group)), "")
        assert self._taking is not None
        suspects = self._suspects = self._taking.suspects(time.time_ns, settlement, switchboard)
        self._recall = memory.recall(config.group, compiled, self._settings, producer, log, self.fatal, copies)
        assert self._tables is not None
        self._asking.attach(self._tables.tables, self._recall, basis_asks=basis_asks(config))
        process = Process(
            compiled.plan, self.lanes, settlement, self.telemetry, self._asking, self._tables.marks, self._recall,
            copies, rekeyed=compiled.rekeyed,
        )  # fmt: skip
        process.watch(suspects)
        rekey = Rekey(copies, process.reading, settlement, producer, process.misses) if compiled.rekeyed else None
        self.misses = process.misses
        grouped = {**self._settings, "group.protocol": config.kafka.group_protocol}
        sources = [
            KafkaSource(grouped, group, [topic], "events" if topic == copies else "input", log)
            for topic, group in self._read.items()
        ]
        tiers_ms = dict(zip(topics.retry_topics(config), compiled.tiers_ms, strict=True)) | self._removed
        retry_topics = tuple(tiers_ms)
        sources.append(KafkaSource(grouped, topics.retry_group(config.group), retry_topics, "retry", log))
        if self._logs:
            sources.append(KafkaSource(grouped, topics.ordered_group(config.group), self._logs, "ordered", log))
        for source in sources:
            ledger = topics.outcomes(config.group) if source.role in ("input", "events") else None
            taker = rekey if rekey is not None and source.role == "input" else process
            intake = Intake(
                source, taker, settlement, self.lanes.values(), producer, self._schemas, self.telemetry, time.time_ns,
                self.fatal, ledger_topic=ledger, drain_s=self._drain_s, brake=brake,
                make=TurnTracker if source.role == "ordered" else Tracker,
                suspects=suspects,
            )  # fmt: skip
            self.intakes.append(intake)
            if source.role == "retry":
                release = Release(tiers_ms, source, time.time_ns, intake.due, intake.room, self.lanes, config.calls())
                switchboard.attach(process, release)
                intake.start(release)
            elif source.role == "ordered":
                self.turns = Turns(
                    source, Logs(self._settings), producer, time.time_ns, intake.due, intake.room, self.lanes,
                    config.calls(), log, self.fatal,
                )  # fmt: skip
                switchboard.attach(process, self.turns)
                intake.start(self.turns)
            else:
                intake.start()
        switchboard.stop_by(intake.brake for intake in self.intakes)
        export(self, settlement, process.misses)
        if self._recipients.urls:
            self._open_alerts(settlement, process.misses)

    def _open_alerts(self, settlement: Settlement, misses: Misses) -> None:
        """Tell people of failures from now on."""
        recipients_, telemetry = self._recipients, self.telemetry
        about = f"group {self._config.group}, worker {self._worker_id}"
        stats = {name: lane.stats for name, lane in self.lanes.items()}
        alerting = self._alerting = Alerting(
            recipients_.audience, AppriseNotifier(recipients_.urls, telemetry.log), stats, misses, time.time_ns,
            telemetry.log, about, self.halts,
        )  # fmt: skip
        settlement.failures.told = alerting.failed
        telemetry.counts(names.ALERTS, lambda: alerting.results)

    def halts(self) -> list[Halt]:
        """Return what stands still until its cause is gone, and why. May be called in any thread."""
        braked = [halt for intake in tuple(self.intakes) if (halt := intake.brake.halt()) is not None]
        return braked + [halt for each in (self._suspects, self._producer) if each is not None for halt in each.halts()]

    def _share(self) -> float:
        return share(self.intakes, ordered=bool(self._logs), rekeyed=self._compiled.rekeyed)

    # -------------------------------------------------------------------------------------------- stop

    async def _drain(self) -> None:
        for intake in self.intakes:
            intake.stop_taking()
        for lane in self.lanes.values():
            lane.drain()
        await asyncio.gather(*(intake.stop() for intake in self.intakes))
        if self.misses is not None:
            self.misses.sum_up()

    async def _end_sending(self) -> None:
        for lane in self.lanes.values():
            await lane.close()
        if self._error is not None:  # nothing is in flight any more: others need not wait for our sessions to end
            await asyncio.gather(*(intake.source.stop(commit=False) for intake in self.intakes))

    async def _close(self, producer: KafkaProducer) -> None:
        await self._end_sending()
        if self._watch is not None:
            self._watch.close()
        for endpoint in self._endpoints.values():
            await endpoint.close()
        if self._control is not None:
            await self._control.stop()
        if self._tables is not None:
            await self._tables.close()
        if self._rows is not None:
            await self._rows.close()
        if self._recall is not None:
            await self._recall.stop()
        if self._error is None:
            left = await producer.flush(FLUSH_S)
            self.telemetry.log("info", "worker_stopped", worker=self._worker_id, unacked=left)
        if self._alerting is not None:
            await self._alerting.close()
        producer.close()
        self._schemas.close()
        self.telemetry.close()


_DICE: Final = random.Random()  # noqa: S311 - jitter and span IDs, no secrets


def _first_line(error: BaseException) -> str:
    if isinstance(error, (BrokerError, ConfigError, OSError)):
        return str(error).splitlines()[0] if str(error) else ""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else ""
