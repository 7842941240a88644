"""The collector rests while a configuration is made, and is afterwards as it was, whatever happens."""

from __future__ import annotations

import gc

import pytest

from pipeline.config.garbage import kept


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was(enabled):
    assert gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(KeyError):
            fail()
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


@kept()
def fail():
    assert not gc.isenabled()
    raise KeyError


def test_it_may_rest_twice():
    with kept():
        with kept():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
