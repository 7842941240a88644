"""Time zones: those of the IANA database, by their exact name, and nothing that is a path."""

from __future__ import annotations

import pytest

from pipeline.config import zones


def test_zones_are_found_by_name():
    assert str(zones.zone("Europe/Berlin")) == "Europe/Berlin"
    assert {"UTC", "Europe/Berlin", "America/New_York"} <= {*zones.names()}


@pytest.mark.parametrize(
    "name", ["", "Europe", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "x\0y", "a" * 300]
)
def test_what_is_no_zone_is_none(name):
    assert zones.zone(name) is None


def test_all_zones_are_read_at_once_and_once():
    assert zones.all_zones().keys() >= {"UTC", "Asia/Kathmandu"}
    assert zones.all_zones() is zones.all_zones()
