"""The bench's arithmetic and its refusals; what it measures is measured in tests/integration/test_bench.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli import USAGE, bench, main
from pipeline.cli.bench import figures, measure, peers, scene
from pipeline.cli.bench.beside import Beside
from pipeline.cli.bench.figures import PEAK_MB, PER_S, Round, Sample
from tests.support.conditions import wait_until


def line(*points: tuple[float, float, int]) -> list[Sample]:
    return [Sample(*point) for point in points]


def test_a_round_is_read_between_warm_up_and_the_last_deliveries():
    samples = line((0, 1, 0), (1, 3, 0), (2, 4, 1_000), (3, 5, 5_000), (4, 6, 9_000), (5, 9, 10_000))
    found = figures.read(samples, 10_000, 10_003, 99.0)
    assert (found.deliveries, found.seconds, found.cpu_s) == (8_000, 2, 2)
    assert (found.per_s, found.per_cpu_s, found.cpu_us) == (4_000, 4_000, 250)
    assert (found.requests, found.peak_mb) == (10_003, 99.0)


def test_ledger_records_are_no_deliveries():
    samples = line((0, 0, 0), (1, 1, 200), (2, 2, 1_200), (3, 3, 2_000))
    assert figures.read(samples, 1_000, 1_000, 1.0).deliveries == 500


def test_a_run_over_between_two_looks_is_taken_whole():
    samples = line((0, 1, 0), (1, 2, 0), (2, 5, 1_000))
    found = figures.read(samples, 1_000, 1_000, 1.0)
    assert (found.deliveries, found.seconds, found.cpu_s) == (1_000, 1, 3)


def test_a_comparison_leaves_out_the_start_alone():
    samples = line((0, 1, 0), (1, 3, 0), (2, 5, 400), (3, 6, 1_000), (9, 8, 1_000))
    found = figures.over(samples, 1_002, 70.0)
    assert (found.deliveries, found.cpu_s, found.seconds, found.requests) == (1_000, 3, 2, 1_002)


def test_a_ratio_is_of_what_ran_in_turn():
    ours = [Round(100, 100, 1.0, cpu_s, 1.0) for cpu_s in (1.0, 4.0, 2.0)]
    theirs = [Round(100, 100, 1.0, cpu_s, 1.0) for cpu_s in (2.0, 8.0, 1.0)]
    assert figures.ratio(ours, theirs) == 2.0


def test_a_peer_without_its_tools_is_left_out_and_says_so(monkeypatch):
    monkeypatch.setattr(peers.shutil, "which", lambda _name: None)
    beside = Beside(quick=True, wanted=True, show=lambda *_: None)
    assert beside.skipped == {"go": "needs go", "parallel_consumer": "needs the receiver, which is built with go"}
    assert beside.document({"A": []})["ratios"] == {}


def test_outside_a_checkout_there_are_no_peers(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "SOURCES", tmp_path)
    assert peers.ready(peers.GO) == "its sources are only in a checkout"


def test_figures_of_rounds_are_medians():
    rounds = [Round(1_000, 1_000, seconds, 1.0, 1.0) for seconds in (1.0, 100.0, 2.0)]
    assert figures.middle(rounds, "per_s") == 500
    assert figures.spread(rounds, "per_s") == "10 to 1,000"


@pytest.mark.parametrize(
    ("target", "measured", "said"),
    [
        (PER_S, 10_000, "met: 100% above"), (PER_S, 4_000, "missed: 20% below"), (PER_S, 5_000, "met: 0% below"),
        (PEAK_MB, 96, "met: 20% below"), (PEAK_MB, 132, "missed: 10% above"),
    ],
)  # fmt: skip
def test_a_figure_says_by_how_much_it_meets_or_misses_its_target(target, measured, said):
    assert figures.against(target, measured) == said


def test_events_are_the_same_each_time_and_all_different():
    first, again = list(scene.events(50, 7)), list(scene.events(50, 7))
    assert first == again
    assert len({each["id"] for each in first}) == 50


def test_one_scenario_of_ones_own_replaces_both():
    assert [each.name for each in bench.scenarios(None, None)] == ["A", "B"]
    (own,) = bench.scenarios(50, None)
    assert (own.latency_ms, own.in_flight) == (50, 1_000)
    (own,) = bench.scenarios(None, 8)
    assert (own.latency_ms, own.in_flight) == (0, 8)


def test_without_a_broker_it_says_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv(bench.BOOTSTRAP, raising=False)
    monkeypatch.setattr(bench, "STARTS_KAFKA", tmp_path / "run.py")  # as where there is no checkout
    assert main(["bench", "--quick"]) == USAGE
    assert "bench needs a real Kafka: name one" in capsys.readouterr().err


def test_in_a_checkout_a_broker_is_started_and_all_that_was_asked_for_handed_on(monkeypatch):
    called = []
    monkeypatch.delenv(bench.BOOTSTRAP, raising=False)
    monkeypatch.setattr(subprocess, "call", lambda argv, **_: called.append(argv[1:]) or 0)
    assert main(["bench", "--quick", "--json", "--events", "2000", "--latency", "0", "--no-peers"]) == 0
    assert called == [
        ["-m", "tests.bench.run", "--events", "2000", "--latency", "0", "--quick", "--no-peers", "--json"]
    ]
    assert bench.STARTS_KAFKA.is_file()


def test_cpu_time_and_memory_of_a_process_are_what_the_system_says():
    used_s = sum(os.times()[:2])
    assert measure.cpu_s(os.getpid()) == pytest.approx(used_s, abs=0.5)
    assert 5 < measure.peak_mb(os.getpid()) < 100_000


def test_a_peer_ends_with_a_bench_that_is_killed():
    code = (
        "import subprocess; from pipeline.cli.bench.peers import end_with_us\n"
        "peer = subprocess.Popen(['sleep', '60'], preexec_fn=end_with_us)\n"
        "print(peer.pid, flush=True); peer.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        peer = int(killed.stdout.readline())
        assert Path(f"/proc/{peer}/stat").exists()
        killed.kill()
    wait_until(lambda: gone(peer))


def gone(pid: int) -> bool:
    """Whether a process ended, be it reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_receiver_counts_its_requests_and_ends():
    receiver = scene.Receiver(0)
    assert receiver.url.startswith("http://127.0.0.1:")
    receiver.stop()
    receiver.stop()
    assert receiver.requests == 0


def test_the_document_has_every_round_and_target():
    measured = {
        "A": (figures.FAST, [Round(10, 10, 1.0, 1.0, 50.0)]),
        "B": (figures.SLOW, [Round(9, 9, 1.0, 2.0, 70.0)]),
    }
    told = json.loads(json.dumps(bench._document(measured, 10)))
    assert [each["scenario"] for each in told["scenarios"]] == ["A", "B"]
    assert [(each["scenario"], each["measured"]) for each in told["targets"]] == [("A", 10), ("B", 9), ("all", 70)]
    assert told["machine"]["python"]
    assert told["at"] <= time.time()


def test_the_table_names_targets_and_machine(capsys):
    bench._print({"A": (figures.FAST, [Round(10, 10, 1.0, 1.0, 50.0)])}, 10, 1)
    told = capsys.readouterr().out
    assert "missed: 100% below" in told
    assert "deliveries per CPU-second" in told
    assert "confluent-kafka" in told


def test_a_process_that_is_gone_has_no_figures():
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(OSError, match="No such"):
        measure.cpu_s(process.pid)
