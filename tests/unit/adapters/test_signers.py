"""Signers are found by their entry point, a real one of an installed distribution; what they say is not repeated."""

from __future__ import annotations

import pytest

from pipeline.adapters import signers
from pipeline.errors import ConfigError
from tests.support.signer import install


@pytest.fixture
def installed(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)


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
