"""app/reload: another configuration is taken over once it is whole and fit; one that is not is named and left."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from pipeline.app.check import checked, version
from pipeline.app.reload import Reload, look
from pipeline.errors import TopicMissing
from tests.support.folder import write_folder

POLL_S = 0.01


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path, "shop", "events", "broker:9092")


@pytest.fixture
def log():
    return []


@pytest.fixture
def unfit():
    """What rehearsing raises, if anything."""
    return []


@pytest.fixture
def reload(folder, log, unfit):
    def fit(_config):
        if unfit:
            raise unfit[0]

    config = checked(folder, None)[0]
    return Reload(config, fit, lambda level, name, **fields: log.append((level, name, fields)), POLL_S)


def change(path, before, after):
    text = path.read_text()
    assert before in text
    draft = path.with_name(".draft")
    draft.write_text(text.replace(before, after))
    draft.replace(path)


async def quiet(reload):
    """What runs goes on: nothing is taken over in twenty looks."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(20 * POLL_S):
            await reload.changed()


async def logged(log, name):
    async with asyncio.timeout(10):
        while not any(each[1] == name for each in log):
            await asyncio.sleep(POLL_S)
    return next(each for each in log if each[1] == name)


async def test_a_change_is_taken_over(folder, reload, log):
    before = reload.running
    waiting = asyncio.ensure_future(reload.changed())
    await asyncio.sleep(3 * POLL_S)
    assert not waiting.done()
    change(folder / "journeys/welcome.yaml", "goal: ", "goal: Better, ")
    config = await asyncio.wait_for(waiting, 10)
    assert config.journeys["welcome"].goal.startswith("Better, ")
    assert reload.running == version(config) != before
    assert log == [("info", "configuration_changed", {"before": before, "after": reload.running})]
    await quiet(reload)


async def test_a_bad_one_is_refused_with_its_problems_and_may_be_mended(folder, reload, log):
    before = reload.running
    waiting = asyncio.ensure_future(reload.changed())
    change(folder / "journeys/welcome.yaml", "goal: ", "gaol: ")
    level, _, fields = await logged(log, "configuration_refused")
    assert level == "error"
    assert (fields["running"], fields["problems"]) == (before, 1)
    assert fields["reason"].startswith("journeys/welcome.yaml:")
    assert reload.refused == (fields["reason"],)
    assert not waiting.done()
    change(folder / "journeys/welcome.yaml", "gaol: ", "goal: Better, ")
    await asyncio.wait_for(waiting, 10)
    assert reload.refused == ()


async def test_a_mistake_that_is_taken_back_is_no_longer_told(folder, reload, log):
    waiting = asyncio.ensure_future(reload.changed())
    change(folder / "journeys/welcome.yaml", "goal: ", "gaol: ")
    await logged(log, "configuration_refused")
    change(folder / "journeys/welcome.yaml", "gaol: ", "goal: ")
    await logged(log, "configuration_unchanged")
    assert reload.refused == ()
    waiting.cancel()


async def test_one_no_worker_could_start_with_is_refused(folder, reload, log, unfit):
    unfit.append(TopicMissing(("shop.retry.7s",)))
    waiting = asyncio.ensure_future(reload.changed())
    change(folder / "journeys/welcome.yaml", "goal: ", "goal: Better, ")
    _, _, fields = await logged(log, "configuration_refused")
    assert "shop.retry.7s" in fields["reason"]
    unfit.clear()
    reload.ask()  # the topic is there now; no file has changed
    await asyncio.wait_for(waiting, 10)


async def test_a_bug_in_examining_is_a_refusal_not_an_end(folder, reload, log, unfit):
    unfit.append(KeyError("hunter2"))
    waiting = asyncio.ensure_future(reload.changed())
    change(folder / "journeys/welcome.yaml", "goal: ", "goal: Better, ")
    _, _, fields = await logged(log, "configuration_refused")
    assert fields["reason"] == "cannot be examined: KeyError"
    assert not waiting.done()
    waiting.cancel()


async def test_asked_with_nothing_changed_it_says_so(reload, log):
    reload.ask()
    await quiet(reload)
    assert [each[1] for each in log] == ["configuration_unchanged"]


async def test_comments_restart_nothing(folder, reload, log):
    journey = folder / "journeys/welcome.yaml"
    journey.write_text("# why\n" + journey.read_text())
    await quiet(reload)
    assert log == []


async def test_files_that_still_change_are_waited_for(folder, reload, monkeypatch):
    """Each look sees something else: what is half written is never examined."""
    looks = iter(range(1_000_000))
    monkeypatch.setattr("pipeline.app.reload.look", lambda _folder: (("x", next(looks), 0, 0),))
    monkeypatch.setattr("pipeline.app.reload.checked", lambda *_: pytest.fail("examined too early"))
    await quiet(reload)


def test_what_is_looked_at(folder):
    seen = look(folder)
    names = {each[0] for each in seen}
    assert {"hookline.yaml", "journeys/welcome.yaml", "destinations/crm.yaml"} <= names
    (folder / ".git").mkdir()
    (folder / "journeys/.welcome.yaml.swp").write_text("x")
    (folder / "secrets").mkdir(exist_ok=True)
    (folder / "secrets/token").write_text("x")
    assert look(folder) == seen
    (folder / "journeys/new.yaml").write_text("")
    assert look(folder) != seen
    shutil.rmtree(folder)
    assert look(folder) == ()
