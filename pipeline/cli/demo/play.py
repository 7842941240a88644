"""Performs the demo from start to end: broker, receivers, worker, events, the account, one event's trace, and away."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.cli.demo import closing, events, performance, summary, watch
from pipeline.cli.demo.follow import Follower, Progress, letters
from pipeline.cli.demo.processes import WorkerProcess, call, output_of
from pipeline.cli.demo.publish import as_event, publishing
from pipeline.cli.demo.systems import CRM, MAIL, MAIL_DOWN_S, Systems
from pipeline.cli.demo.view import View, view
from pipeline.config import topics
from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.cli.demo.folder import Folder
    from pipeline.cli.produce import Publisher

SEND_S: Final = 10.0
"""How long the events are spread over."""
BEGIN_S: Final = 45.0
"""Bound on the worker's start, joining its group included."""
SETTLE_S: Final = 60.0
"""Bound on settling what is left after the last event."""
TICK_S: Final = 0.05
"""Longest sleep between two looks at the clock."""
SHOW_S: Final = 0.15
"""Time between two pictures."""
STAY_S: Final = 3_600.0
"""Length of one sleep while everything stays up."""
MORE_EVENTS: Final = 100


def play(count: int, seed: int, bootstrap: str | None, *, keep: bool) -> int:
    """Run the demo; return 0 if everything is accounted for, 1 if not, 130 if interrupted. Leaves nothing behind."""
    return performance.perform(
        lambda console, cleanup, folder: Play(console, cleanup, folder, count, seed, bootstrap, keep=keep).run(),
        keep=keep,
    )


class Play:
    """One performance. What it starts is ended, in reverse, by `cleanup`."""

    def __init__(
        self,
        console: Console,
        cleanup: contextlib.ExitStack,
        folder: Folder,
        count: int,
        seed: int,
        bootstrap: str | None,
        *,
        keep: bool,
    ) -> None:
        self._console = console
        self._cleanup = cleanup
        self._count = count
        self._seed = seed
        self._keep = keep
        self._total = count + events.DAMAGED + events.TOMBSTONES
        self._sent = 0
        self._mail_up = False
        self._next_show_s = 0.0
        self._folder = folder
        self._systems = Systems(self._folder.secret, seed)
        self._systems.start()
        cleanup.callback(self._systems.stop)
        self._embedded = bootstrap is None
        source = Path(str(resources.files("pipeline.cli.demo") / "configuration"))
        self._config, self._settings = performance.prepare(
            source, bootstrap, self._systems.urls(), CRM, folder, cleanup, keep=keep
        )
        self._worker = WorkerProcess(self._folder.config, self._folder.log)
        cleanup.callback(self._worker.stop)
        self._progress = Progress(self._config, self._settings)
        self._counts = watch.Tally().counts()
        self._breakers: dict[str, str] = {}
        self._follower = Follower(self._config, self._settings, self._looked)
        cleanup.callback(self._follower.stop)
        self._started_s = time.monotonic()

    def run(self) -> bool:
        """Play it to the end; return whether all agrees."""
        console, bootstrap = self._console, self._settings["bootstrap.servers"]
        closing.introduce(console, self._folder, bootstrap, embedded=self._embedded)
        self._follower.start()
        with publishing(self._config, self._settings, self._folder.log) as publisher:
            self._begin(publisher)
            self._started_s = time.monotonic()
            with view(console) as shown:
                self._send(publisher, shown)
                settled = self._settle(shown)
        if not settled:
            console.print(f"[bold red]Not everything was settled within {SETTLE_S:.0f} s.[/]")
        code = None if self._keep else self._worker.stop()
        good = self._account(code) and settled
        closing.trace(console, self._follower.tally.worth_showing(), self._folder)
        program = closing.program(Path(sys.executable))
        if self._keep:
            self._write_more()
            closing.invite(
                console, self._folder, program, self._systems.urls(), topics.inputs(self._config)[0], self._worker.pid
            )
            self._stay()
        else:
            closing.farewell(console, program)
        return good

    # ------------------------------------------------------------------------------------------- before

    def _begin(self, publisher: Publisher) -> None:
        """Send the records without value and wait until the worker has settled one: it has joined its group."""
        for number in range(events.TOMBSTONES):
            publisher.feed.send(f"c-{number}".encode(), None, [])
            self._sent += 1
        until_s = time.monotonic() + BEGIN_S
        with self._console.status("the worker starts and joins its consumer group ..."):
            while not self._progress.begun():
                self._look_after(publisher)
                if time.monotonic() >= until_s:
                    raise BrokerError(f"the worker settled nothing within {BEGIN_S:.0f} s{self._folder.log_end()}")
                time.sleep(TICK_S)

    # -------------------------------------------------------------------------------------------- sending

    def _send(self, publisher: Publisher, shown: View) -> None:
        for number, made in enumerate(events.records(self._count, self._seed)):
            due_s = self._started_s + number * SEND_S / self._total
            while (left_s := due_s - time.monotonic()) > 0:
                self._look_after(publisher)
                self._show(shown)
                time.sleep(min(left_s, TICK_S))
            if made.document is None:
                publisher.feed.send(made.key.encode(), made.content or b"", [])
            else:
                publisher.send(self._event(made.document))
            self._sent += 1
        if publisher.feed.finish() or publisher.feed.failed:
            raise BrokerError("Kafka did not take every event of the demo")

    def _event(self, document: dict[str, Any]) -> dict[str, Any]:
        now_ms = time.time_ns() // 1_000_000
        return as_event({**document, "time": now_ms + document["time"]})

    def _settle(self, shown: View) -> bool:
        until_s = time.monotonic() + SETTLE_S
        next_s = 0.0
        while True:
            now_s = time.monotonic()
            self._look_after(None)
            self._show(shown)
            if now_s >= next_s:
                if self._mail_up and self._progress.settled():
                    self._show(shown, last=True)
                    return True
                next_s = now_s + 0.5
            if now_s >= until_s:
                return False
            time.sleep(TICK_S)

    def _look_after(self, publisher: Publisher | None) -> None:
        """Do what is due: acks, the mail service's return. Raises BrokerError if something of ours is gone."""
        if publisher is not None:
            publisher.feed.poll()
        if not self._mail_up and self._sent > events.TOMBSTONES and time.monotonic() - self._started_s >= MAIL_DOWN_S:
            self._systems.mend()
            self._mail_up = True
        if self._follower.error is not None:
            raise self._follower.error
        if (code := self._worker.ended()) is not None:
            raise BrokerError(f"the worker ended by itself, exit code {code}{self._folder.log_end()}")

    # -------------------------------------------------------------------------------------------- showing

    def _looked(self, tally: watch.Tally) -> None:
        self._counts, self._breakers = tally.counts(), dict(tally.breakers)

    def _show(self, shown: View, *, last: bool = False) -> None:
        now_s = time.monotonic()
        if now_s < self._next_show_s and not last:
            return
        self._next_show_s = now_s + SHOW_S
        if last:
            self._follower.stop()
            self._follower.look()
            self._looked(self._follower.tally)
        shown.show(watch.Moment(now_s - self._started_s, self._sent, self._total, self._lanes(), settled=last))

    def _lanes(self) -> tuple[watch.Lane, ...]:
        seen = self._systems.seen()
        return tuple(
            watch.lane(
                name, self._counts.get(name, watch.NOTHING), seen[name], self._breakers.get(name, ""),
                up=name != MAIL or self._mail_up,
            )
            for name in self._systems.receivers
        )  # fmt: skip

    # --------------------------------------------------------------------------------------------- the end

    def _account(self, worker_code: int | None) -> bool:
        code, told = output_of(call("account", "--json", config=self._folder.config), self._folder.log)
        if not told:
            raise BrokerError(f"hookline account failed, exit code {code}{self._folder.log_end()}")
        evidence = summary.Evidence(
            self._sent, orjson.loads(told), self._follower.tally, self._systems.seen(),
            letters(self._config, self._settings), worker_code,
        )  # fmt: skip
        return closing.account(self._console, evidence)

    def _write_more(self) -> None:
        """Leave a file of events for `hookline produce`; they get their IDs and their time there, so they start now."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        made = (each.document for each in events.records(MORE_EVENTS, self._seed + 1))
        documents = ({**each, "id": "", "time": now} for each in made if each is not None)
        (self._folder.path / "more.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))

    def _stay(self) -> None:
        """Wait for Ctrl-C; a worker that ends, or is killed, changes nothing: another may be started by hand."""
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(STAY_S)
