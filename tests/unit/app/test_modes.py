"""app/modes: a group that sends for real is not worked on by workers that send nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import orjson
import pytest

from pipeline.app.modes import KEY, ModeGuard, stays
from pipeline.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pipeline.config.models import Config

LIVE = orjson.dumps({"mode": "live", "since_ms": 1})


def config(mode: str) -> Config:
    return SimpleNamespace(  # type: ignore[return-value]
        mode=mode, group="shop", env="test",
        problem=lambda file, path, message, hint: Problem(file, 1, 1, ".".join(path), message, hint),
    )  # fmt: skip


class Scene:
    def __init__(self, mode: str) -> None:
        self.stopped: list[BaseException] = []
        self.written: list[tuple[str, bytes, dict[str, object]]] = []
        self.guard = ModeGuard(config(mode), self.stopped.append)

    def produce(self, topic: str, key: bytes, content: bytes, _headers: object, _acked: object) -> bool:
        self.written.append((topic, key, orjson.loads(content)))
        return True

    def begin(self) -> None:
        self.guard.begin(self, "shop.control", lambda: 5_000_000)  # type: ignore[arg-type]


def test_the_first_live_worker_says_so_once() -> None:
    scene = Scene("live")
    scene.begin()
    assert scene.written == [("shop.control", KEY, {"mode": "live", "since_ms": 5})]
    again = Scene("live")
    assert again.guard.note(KEY, LIVE)
    again.begin()
    assert again.written == []


@pytest.mark.parametrize("mode", ["dry", "redirect"])
@pytest.mark.parametrize("content", [LIVE, b"{", b"[]"])
def test_others_do_not_start_there_and_do_not_go_on(mode: str, content: bytes) -> None:
    scene = Scene(mode)
    scene.guard.note(KEY, content)
    with pytest.raises(ConfigError, match=r"env/test.yaml:1:1: mode: group shop sends for real on these brokers"):
        scene.begin()
    late = Scene(mode)
    late.begin()
    assert late.written == []
    late.guard.note(KEY, content)
    assert [type(each) for each in late.stopped] == [ConfigError]


def test_other_records_and_its_end_mean_nothing() -> None:
    scene = Scene("dry")
    assert not scene.guard.note(b"worker/1", LIVE)
    assert not scene.guard.note(None, LIVE)
    scene.guard.note(KEY, LIVE)
    scene.guard.note(KEY, None)
    scene.begin()
    assert scene.stopped == []


def test_a_running_worker_keeps_its_mode() -> None:
    stays(config("dry"), config("dry"))
    with pytest.raises(ConfigError, match="is not what the workers run in, which is live"):
        stays(config("live"), config("dry"))
