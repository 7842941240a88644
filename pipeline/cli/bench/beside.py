"""Keeps what peers came to on the same backlog, round by round, and tells it beside our own figures."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import screen
from pipeline.cli.bench import figures
from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pipeline.cli.bench import scene
    from pipeline.cli.bench.figures import Round, Scenario

WANTED: Final = {"go": 1.0, "parallel_consumer": 5.0}
"""Our deliveries per CPU-second are to be at least so many times theirs."""


class Beside:
    """The peers of one bench. Building them is the first thing it does; blocks meanwhile."""

    def __init__(self, *, quick: bool, wanted: bool, show: Callable[[str, int, int], None]) -> None:
        from pipeline.cli.bench import peers  # noqa: PLC0415 - keep `hookline --help` fast

        self.rounds: dict[tuple[str, str], list[Round]] = {}  # by peer and scenario
        self.skipped: dict[str, str] = {}
        self._show = show
        self._peers: list[peers.Peer] = []
        self._titles = {each.name: each.title for each in peers.ALL}
        if not wanted:
            return
        for peer in peers.QUICK if quick else peers.ALL:
            show(f"building {peer.name}", 0, 1)
            # All of them call the receiver that is built with the Go worker.
            why = self.skipped.get("go", "") and "needs the receiver, which is built with go"
            if why := why or peers.ready(peer):
                self.skipped[peer.name] = why
            else:
                self._peers.append(peer)

    def round(self, scenario: Scenario, bootstrap: str, topic: str, events: int, folder: Path, what: str) -> None:
        """Run each peer once over the backlog. One that fails is left out from then on."""
        from pipeline.adapters.schemas import Folders, packaged  # noqa: PLC0415 - keep `hookline --help` fast
        from pipeline.cli.bench import peers, scene  # noqa: PLC0415
        from pipeline.config.models import LIFECYCLE_EVENT  # noqa: PLC0415

        schema = json.dumps(Folders((packaged(),)).readers[LIFECYCLE_EVENT])
        for peer in self._peers:
            found = self.rounds.setdefault((peer.name, scenario.name), [])
            environ = {
                "BOOTSTRAP": bootstrap, "TOPIC": topic, "SCHEMA": schema,
                "GROUP": f"{topic}.{peer.name}.{scenario.name}{len(found)}",
                "SECRET": scene.ENVIRON["BENCH_SECRET"].removeprefix("whsec_"),
            }  # fmt: skip
            said = f"{peer.name}: {what}"
            log = folder / f"{peer.name}.log"
            try:
                found.append(peers.run(peer, scenario, environ, events, log, partial(self._show, said)))
            except BrokerError as error:  # one that fails costs the others nothing
                self.skipped[peer.name] = str(error)
        for name in self.skipped:
            self._peers = [each for each in self._peers if each.name != name]
            self.rounds = {key: found for key, found in self.rounds.items() if key[0] != name}

    def receiver(self, delay_ms: int) -> scene.Far:
        """Start the far side that all are measured against: the Go one if it could be built."""
        from pipeline.cli.bench import peers, scene  # noqa: PLC0415 - keep `hookline --help` fast

        return peers.Receiver(delay_ms) if self._peers else scene.Receiver(delay_ms)

    def ratios(self, ours: Mapping[str, Sequence[Round]], scenario: str) -> dict[str, float]:
        """Return our deliveries per CPU-second divided by each peer's."""
        return {
            peer: round(figures.ratio(ours[scenario], theirs), 2)
            for (peer, where), theirs in self.rounds.items()
            if where == scenario
        }

    def document(self, ours: Mapping[str, Sequence[Round]]) -> dict[str, Any]:
        """Return what JSON output has of it: `compared` are our own rounds; `ratios` are of the first scenario."""
        fields = ("deliveries", "seconds", "cpu_s", "peak_mb", "per_s", "per_cpu_s", "cpu_us")
        first = next(iter(ours))
        return {
            "peers": [
                {
                    "peer": peer,
                    "scenario": where,
                    "rounds": [{name: getattr(each, name) for name in fields} for each in of],
                    "compared": [{name: getattr(each, name) for name in fields} for each in ours[where]],
                }
                for (peer, where), of in self.rounds.items()
            ],
            "skipped": self.skipped,
            "ratios": self.ratios(ours, first),
        }

    def print(self, ours: Mapping[str, Sequence[Round]]) -> None:
        """Print a table of the peers, and what is missing."""
        console = screen.console()
        if self.rounds:
            numbers = ("deliveries/CPU-s", "CPU µs each", "deliveries/s", "peak MB", "ours / theirs", "wanted")
            table = screen.table("peer", "scenario", *numbers, right=numbers)
            for (peer, where), found in self.rounds.items():
                wanted = WANTED.get(peer)
                table.add_row(
                    self._titles[peer], where, f"{figures.middle(found, 'per_cpu_s'):,.0f}",
                    f"{figures.middle(found, 'cpu_us'):.1f}", f"{figures.middle(found, 'per_s'):,.0f}",
                    f"{max(each.peak_mb for each in found):.0f}", f"{self.ratios(ours, where)[peer]:.2f}",
                    f"{wanted:.1f}" if wanted else "",
                )  # fmt: skip
            console.print(table)
        for peer, why in self.skipped.items():
            console.print(f"not measured: {self._titles[peer]}: {why}")
