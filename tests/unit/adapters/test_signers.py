"""Signers are found by their entry point, a real one of an installed distribution; what they say is not repeated."""

from __future__ import annotations

import importlib

import pytest

from pipeline.adapters import signers
from pipeline.errors import ConfigError

MODULE = """
class Signer:
    def __init__(self, options):
        self.options = options

    async def sign(self, content):
        return "v1a,abc="

def make(options):
    if "wrong" in options:
        raise ValueError("canary " + options["wrong"])
    return Signer(options) if "none" not in options else object()
"""
ENTRY_POINTS = "[hookline.signers]\nkms = hookline_test_signer:make\ngone = hookline_test_signer:nothing\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    (tmp_path / "hookline_test_signer.py").write_text(MODULE)
    folder = tmp_path / "hookline_test_signer-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: hookline-test-signer\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()


@pytest.mark.usefixtures("installed")
async def test_a_signer_is_made_with_its_options():
    made = signers.load("kms", {"key": "arn:1"}, "crm")
    assert made.options == {"key": "arn:1"}
    assert await made.sign(b"") == "v1a,abc="


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kmz", {}, "no signer of that name is installed (entry points of hookline.signers: gone, kms)"),
        ("gone", {}, "the signer cannot be made: AttributeError"),
        ("kms", {"wrong": "canary"}, "the signer cannot be made: ValueError"),
        ("kms", {"none": ""}, "the signer has no `sign`"),
    ],
)
def test_a_signer_of_no_use(name, options, message):
    with pytest.raises(ConfigError) as caught:
        signers.load(name, options, "crm")
    assert str(caught.value) == f"destinations/crm.yaml: sign.plugin: {message}"
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
