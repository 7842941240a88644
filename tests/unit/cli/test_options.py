"""cli/options: the arguments several commands share."""

from __future__ import annotations

import argparse

import pytest

from pipeline.cli import options
from pipeline.errors import ConfigError
from tests.support.folder import write_folder

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("90s", NOW - 90_000),
        ("7d", NOW - 7 * 86_400_000),
        ("40000d", 0),
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15T09:00:00+01:00", NOW),
        ("2027-01-15 08:00", NOW),
        ("1900-01-01", 0),
    ],
)
def test_since_is_an_age_or_a_time(text, at_ms):
    assert options.Since(text).at_ms(NOW) == at_ms


@pytest.mark.parametrize("text", ["", "0s", "yesterday", "7", "-7d", "2026-13-01"])
def test_anything_else_is_refused_by_the_parser(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be an age such as 6h"):
        options.Since(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "+1", "1.0", "x", "10001", "9" * 5_000])
def test_a_number_beyond_its_bounds_is_refused_by_the_parser(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number from 1 to 10000"):
        options.whole(1, 10_000)(text)


def test_a_number_within_its_bounds_is_taken():
    assert [options.whole(1, 10_000)(text) for text in ("1", "0042", "10000")] == [1, 42, 10_000]


def test_the_configuration_and_kafka_settings_are_loaded(tmp_path):
    parser = argparse.ArgumentParser()
    options.add_config(parser)
    folder = write_folder(tmp_path, "shop", "events", "broker:9092")
    config, settings = options.load(parser.parse_args(["--config", str(folder)]))
    assert config.group == "shop"
    assert settings == {"bootstrap.servers": "broker:9092"}
    with pytest.raises(ConfigError):
        options.load(parser.parse_args(["--config", str(tmp_path / "absent")]))
