"""References are resolved when asked; errors name the reference and never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config.secrets import SECRET_BYTES_MAX, Secrets
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    import pathlib


@pytest.fixture
def secrets(tmp_path: pathlib.Path) -> Secrets:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/token").write_bytes(b"hunter2\r\n")
    (tmp_path / "secrets/many").write_bytes(b"-----BEGIN\nhunter2\n\n")
    (tmp_path / "secrets/blank").write_bytes(b" \n")
    (tmp_path / "secrets/binary").write_bytes(b"hunter2\xff")
    (tmp_path / "secrets/large").write_bytes(b"hunter2" * SECRET_BYTES_MAX)
    return Secrets(tmp_path, {"TOKEN": " hunter2 ", "BLANK": ""})


@pytest.mark.parametrize(
    ("ref", "value"),
    [
        ("env:TOKEN", " hunter2 "),
        ("file:secrets/token", "hunter2"),
        ("file:secrets/many", "-----BEGIN\nhunter2\n"),
    ],
)
def test_values(secrets: Secrets, ref: str, value: str) -> None:
    assert secrets.get(ref) == value


def test_absolute_paths(secrets: Secrets, tmp_path: pathlib.Path) -> None:
    assert secrets.get(f"file:{tmp_path}/secrets/token") == "hunter2"


def test_settings_that_need_not_be_secret(secrets: Secrets) -> None:
    assert secrets.text("localhost:9092") == "localhost:9092"
    assert secrets.text("env:TOKEN") == " hunter2 "


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("env:NONE", "env:NONE: is not set (it is an environment variable)"),
        ("env:BLANK", "env:BLANK: is empty"),
        ("file:secrets/none", "file:secrets/none: is not there (paths are relative to the configuration folder)"),
        ("file:secrets", "file:secrets: is not there (paths are relative to the configuration folder)"),
        ("file:secrets/blank", "file:secrets/blank: is empty"),
        ("file:secrets/binary", "file:secrets/binary: is not UTF-8"),
        ("file:secrets/large", "file:secrets/large: is larger than 64 KiB"),
        ("hunter2", "is no reference to a secret (env:NAME or file:PATH)"),
    ],
)
def test_refused(secrets: Secrets, ref: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        secrets.get(ref)
    assert str(caught.value) == expected
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


def test_the_environment_is_the_process_own_unless_given(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOKLINE_TEST_TOKEN", "hunter2")
    assert Secrets(tmp_path).get("env:HOOKLINE_TEST_TOKEN") == "hunter2"
