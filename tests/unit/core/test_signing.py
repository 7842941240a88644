"""Signatures: the official standardwebhooks package, the specification's own vectors and `cryptography` judge them."""

import base64
import hmac
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pipeline.core import signing

SECRETS = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]


def signed(secrets, body, now_s):
    lines = signing.signer([signing.signing_key(secret) for secret in secrets])(b"msg-1", b"%d" % now_s, body)
    return {"webhook-id": "msg-1"} | dict(line.split(": ", 1) for line in lines.decode().split("\r\n") if line)


@pytest.mark.parametrize("body", [b"", b"{}", '{"name":"Jürgen"}'.encode()])
def test_the_official_library_accepts_each_of_several_secrets(body):
    headers = signed(SECRETS, body, int(time.time()))
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in SECRETS:
        Webhook(secret).verify(body, headers, json_parse=False)
        assert Webhook(secret).sign("msg-1", _moment(headers), body.decode()) in headers["webhook-signature"].split(" ")


def test_the_official_library_refuses_what_was_changed():
    headers = signed(SECRETS[:1], b'{"a":1}', int(time.time()))
    for body, changed in ((b'{"a":2}', {}), (b'{"a":1}', {"webhook-id": "msg-2"})):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRETS[0]).verify(body, headers | changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[1]).verify(b'{"a":1}', headers)


def _moment(headers):
    return datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)


@given(st.binary(min_size=24, max_size=64), st.binary(max_size=200))
def test_the_signature_is_hmac_sha256(key, body):
    lines = signing.signer([key])(b"id", b"7", body)
    mac = base64.b64encode(hmac.digest(key, b"id.7." + body, "sha256")).decode()
    assert lines.decode() == f"webhook-timestamp: 7\r\nwebhook-signature: v1,{mac}\r\n"


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secrets_of_the_standards_sizes_are_taken(size):
    assert signing.signing_key(signing.secret_of(b"k" * size)) == b"k" * size


@pytest.mark.parametrize(
    "secret", ["", "whsec_", signing.secret_of(b"k" * 23), signing.secret_of(b"k" * 65), "whsec_?!", "k" * 32]
)
def test_other_secrets_are_refused_without_being_quoted(secret):
    with pytest.raises(ValueError, match="must be whsec_ and the base64 of 24 to 64 bytes"):
        signing.signing_key(secret)
