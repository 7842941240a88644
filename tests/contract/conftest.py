"""Runs the sender's contract on both event loops: the worker runs on uvloop, whose transports differ from asyncio's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    import pytest


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item):
    loops = {"asyncio": asyncio.SelectorEventLoop}
    if item.path.name.startswith(("test_sender", "test_hostile")):
        loops["uvloop"] = uvloop.new_event_loop
    return loops
