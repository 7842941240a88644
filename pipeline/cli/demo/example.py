"""Performs an example: its services, a broker, real workers; scene after scene, and whether it went as told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text
from rich.tree import Tree

from pipeline.adapters.kafka.reader import read_topic
from pipeline.cli.demo import performance
from pipeline.cli.demo import story as stories
from pipeline.cli.demo.follow import Progress
from pipeline.cli.demo.processes import WorkerProcess, call, output_of
from pipeline.cli.demo.publish import as_event, publishing
from pipeline.cli.demo.services import Services
from pipeline.config import topics
from pipeline.core import outcome
from pipeline.errors import BrokerError
from pipeline.model import Outcome

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Mapping

    from rich.console import Console

    from pipeline.cli.demo.folder import Folder
    from pipeline.cli.demo.story import Happening, Scene, Story
    from pipeline.cli.produce import Publisher

SCENE_S: Final = 60.0
"""Bound on all that comes of one scene, a killed worker's partitions included."""
TICK_S: Final = 0.1
SECRET: Final = "hookline"  # noqa: S105 - the name of its file
_STYLES: Final = {"delivered": "green", "defaulted": "yellow", "skipped": "dim", "dead": "bold red", "rejected": "red"}


def folder() -> Path:
    """Return where the examples are."""
    return Path(__file__).resolve().parent.parent.parent / "examples"


def names() -> tuple[str, ...]:
    """Name the examples there are."""
    return tuple(sorted(each.parent.name for each in folder().glob(f"*/{stories.STORY}")))


def perform(name: str, bootstrap: str | None, *, keep: bool) -> int:
    """Perform an example; return 0 if all went as told, 1 if not, 130 if interrupted. Raises BrokerError."""
    return performance.perform(
        lambda console, cleanup, place: Example(console, cleanup, place, name, bootstrap).run(), keep=keep
    )


class Example:
    """One performance. What it starts is ended, in reverse, by `cleanup`."""

    def __init__(
        self, console: Console, cleanup: contextlib.ExitStack, place: Folder, name: str, bootstrap: str | None
    ) -> None:
        self._console = console
        self._cleanup = cleanup
        self._folder = place
        self._source = folder() / name
        self._story: Story = stories.read(self._source)
        self._services = Services(self._source / "services.py", place.secret, place.log)
        cleanup.callback(self._services.stop)
        self._config, self._settings = performance.prepare(
            self._source / "config", bootstrap, self._services.urls, SECRET, place, cleanup
        )
        self._progress = Progress(self._config, self._settings)
        self._reached: dict[int, int] = {}
        self._ended: dict[str, dict[str, str]] = {}  # by event ID: each step's last word
        self._worker = self._start_worker()

    def run(self) -> bool:
        """Play all scenes; return whether everything came as told."""
        console, story = self._console, self._story
        console.print(f"[bold]{story.title}[/]\n")
        console.print(story.about.strip(), style="dim")
        console.print(f"journeys: {self._folder.config / 'journeys'}/   log: {self._folder.log}\n", style="dim")
        good = True
        with publishing(self._config, self._settings, self._folder.log) as publisher:
            for number, scene in enumerate(story.scenes, 1):
                good &= self._scene(number, scene, publisher)
        code = self._worker.stop()
        balanced, _ = output_of(call("account", "--json", config=self._folder.config), self._folder.log)
        good = good and code == 0 and balanced == 0
        told = "every event is accounted for" if balanced == 0 else "the account does NOT balance"
        console.print(f"{len(story.scenes)} scenes, {'all as told' if good else 'NOT all as told'}; {told}.")
        return good

    # ------------------------------------------------------------------------------------------- before

    def _start_worker(self) -> WorkerProcess:
        worker = WorkerProcess(self._folder.config, self._folder.log)
        self._cleanup.callback(worker.stop)
        return worker

    # -------------------------------------------------------------------------------------------- a scene

    def _scene(self, number: int, scene: Scene, publisher: Publisher) -> bool:
        over_s = time.monotonic() + max((each.for_ms for each in scene.troubles), default=0) / 1000
        for trouble in scene.troubles:
            self._services.trouble(trouble.system, trouble.kind, trouble.for_ms / 1000)
        for happening in scene.events:
            time.sleep(happening.after_ms / 1000)
            publisher.send(_event(happening))
            publisher.feed.poll()
        if publisher.feed.finish() or publisher.feed.failed:
            raise BrokerError("Kafka did not take every event of the example")
        until_s = time.monotonic() + SCENE_S
        if scene.kill_worker is not None:
            self._kill(scene, until_s)
        settled = self._settled(until_s)
        time.sleep(max(over_s - time.monotonic(), 0))  # the next scene is no part of this one's trouble
        self._look()
        wrong = [] if settled else [f"not everything was settled within {SCENE_S:.0f} s"]
        for happening in scene.events:
            if happening.outcomes is not None:
                wrong += stories.differences(happening, self._ended.get(happening.id, {}))
        heard = self._services.heard()
        for system, said in heard.items():
            wrong += stories.unheard(scene, system, said)
        self._show(number, scene, heard, wrong)
        return not wrong

    def _settled(self, until_s: float) -> bool:
        while time.monotonic() < until_s:
            if self._progress.settled():
                return True
            if (code := self._worker.ended()) is not None:
                raise BrokerError(f"the worker ended by itself, exit code {code}{self._folder.log_end()}")
            time.sleep(TICK_S)
        return False

    def _kill(self, scene: Scene, until_s: float) -> None:
        """End the worker at once when a step has got so far; another one takes over."""
        assert scene.kill_worker is not None
        step, wanted = scene.kill_worker
        (happening,) = scene.events[:1]
        while not self._ended.get(happening.id, {}).get(step, "").startswith(wanted):
            if time.monotonic() >= until_s:
                return
            time.sleep(TICK_S)
            self._look()
        while not self._progress.handed_over():  # killed before, it would have to begin anew: at least once
            if time.monotonic() >= until_s:
                return
            time.sleep(TICK_S)
        os.kill(self._worker.pid, signal.SIGKILL)
        self._worker.stop()
        self._worker = self._start_worker()

    def _look(self) -> None:
        """Read what the outcomes say by now: a final one stands, `retrying` is overruled."""
        for record in read_topic(self._settings, topics.outcomes(self._config.group), begin=dict(self._reached)):
            self._reached[record.partition] = record.offset + 1
            row = outcome.decode(record.value or b"")
            if isinstance(row, outcome.OutcomeRow):
                steps = self._ended.setdefault(row.event_id, {})
                if row.outcome is not Outcome.RETRYING or row.step not in steps:
                    steps[row.step] = stories.said(row)

    def _show(self, number: int, scene: Scene, heard: Mapping[str, tuple[str, ...]], wrong: list[str]) -> None:
        top = Tree(Text.assemble((f"{number}. {scene.title}", "bold")))
        for trouble in scene.troubles:
            top.add(Text(f"{trouble.system} is {trouble.kind} for {trouble.for_ms / 1000:g} s", "red"))
        for happening in scene.events:
            who = happening.document["customer"]["id"]
            event = top.add(Text.assemble((happening.document["type"], "cyan"), f"  {who}  ", (happening.id, "dim")))
            for step, said in self._ended.get(happening.id, {}).items():
                event.add(Text.assemble(f"{step:<16} ", (said, _STYLES.get(said.partition("(")[0], ""))))
        if scene.kill_worker is not None:
            top.add(Text("the worker was killed (SIGKILL); another one took over", "red"))
        for system, lines in heard.items():
            for line in lines:
                top.add(Text.assemble((f"{system}: ", "bold"), line))
        for each in wrong:
            top.add(Text(f"✗ {each}", "bold red"))
        self._console.print(top)
        self._console.print()


def _event(happening: Happening) -> dict[str, object]:
    at_ms = time.time_ns() // 1_000_000 - happening.ago_ms
    return as_event({**happening.document, "id": happening.id, "time": at_ms})
