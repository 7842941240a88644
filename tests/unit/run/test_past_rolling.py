"""Workers of two releases share a log: what the later one got to, the other leaves to it, and repeats nothing."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.core import runstate
from tests.support.onstage import Fleet, number_of, on_stage


@pytest.mark.parametrize("noted_before", [0, 1])
def test_what_a_later_release_got_to_waits_for_it_and_nothing_is_sent_again(
    tmp_path, monkeypatch, noted_before
) -> None:
    async def main(loop) -> None:
        fleet = Fleet(tmp_path, loop)
        fleet.status = lambda request: 503 if request.step == "two" else 204
        worker = fleet.worker()
        fleet.publish(1)
        fleet.publish(2)
        while len(fleet.notes()) < noted_before + 1:
            await asyncio.sleep(1.0)
        await worker.stop()
        asked = [each.step for each in worker.requests]
        assert asked[0] == "one"
        assert set(asked[1:]) == {"two"}
        fleet.later_release(2 + noted_before)  # behind the two entries
        assert fleet.notes() == [2] * noted_before + [3]

        fleet.status = lambda _request: 204
        worker = fleet.worker()
        await asyncio.sleep(180)
        assert worker.requests == [], "of neither: the second waits for the first"
        assert "run_state_newer" in {line[1] for line in worker.telemetry.lines}
        assert len(fleet.notes()) == noted_before + 1
        await worker.stop()

        with monkeypatch.context() as patch:
            patch.setattr(runstate, "STATE_VERSION", runstate.STATE_VERSION + 1)
            worker = fleet.worker()
            await worker.settled()
            steps = [(each.step, number_of(each)) for each in worker.requests]
            assert steps == [("two", 1), ("one", 2), ("two", 2)]
            await worker.stop()
        assert worker.errors == []

    on_stage(main)
