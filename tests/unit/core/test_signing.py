"""Signatures: the official standardwebhooks package, the specification's own vectors and `cryptography` judge them."""

import base64
import hmac
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
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


# The vectors of the specification's own libraries.
VECTOR = (b"msg_p5jXN8AQM9LWM0D4loKWxJek", b"1614265330", b'{"test": 2432232314}')


def test_the_specifications_vector_of_v1():
    lines = signing.signer([signing.signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")])(*VECTOR)
    assert b"webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n" in lines


def test_the_specifications_vector_of_v1a():
    key = signing.private_key("whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=")
    expected = "tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
    assert f"webhook-signature: v1a,{expected}\r\n".encode() in signing.signer([], [key])(*VECTOR)


def whsk(raw):
    return "whsk_" + base64.b64encode(raw).decode()


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3), st.binary(max_size=200))
def test_each_public_key_verifies_one_of_the_signatures_of_v1a(seeds, body):
    keys = [signing.private_key(whsk(seed)) for seed in seeds]
    lines = signing.signer([b"k" * 24], keys)(b"id", b"7", body).decode()
    offered = lines.split("webhook-signature: ")[1].strip().split(" ")
    assert [each.partition(",")[0] for each in offered] == ["v1"] + ["v1a"] * len(seeds)
    for seed, each in zip(seeds, offered[1:], strict=True):
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        public.verify(base64.b64decode(each.removeprefix("v1a,")), b"id.7." + body)
        with pytest.raises(InvalidSignature):
            public.verify(base64.b64decode(each.removeprefix("v1a,")), b"id.8." + body)


def test_an_ed25519_key_may_have_its_public_key_after_it():
    seed = b"s" * 32
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert signing.private_key(whsk(seed + public)).private_bytes_raw() == seed
    with pytest.raises(ValueError, match="must be one pair of keys"):
        signing.private_key(whsk(seed + b"x" * 32))


@pytest.mark.parametrize(
    "secret", ["", "whsk_", whsk(b"k" * 31), whsk(b"k" * 33), "whsk_?!", "whsec_" + "k" * 43 + "="]
)
def test_other_ed25519_keys_are_refused_without_being_quoted(secret):
    with pytest.raises(ValueError, match="must be whsk_ and the base64 of an ed25519 key, 32 or 64 bytes"):
        signing.private_key(secret)


def test_as_github_signs():
    """The example of GitHub's "Validating webhook deliveries"."""
    lines = signing.github(b"It's a Secret to Everybody")(b"id", b"7", b"Hello, World!")
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert lines == f"X-Hub-Signature-256: sha256={digest}\r\n".encode()


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=200))
def test_as_stripe_signs(secret, body):
    digest = hmac.digest(secret, b"7." + body, "sha256").hex()
    assert signing.stripe(secret)(b"id", b"7", body) == f"Stripe-Signature: t=7,v1={digest}\r\n".encode()


def test_what_a_signer_outside_may_answer():
    assert signing.signature_text(" v1a,abc v1a,def\n".strip()) == b"v1a,abc v1a,def"


@pytest.mark.parametrize("given_text", ["", " ", "v1a,a\r\nEvil: 1", "\u00e9", None, b"v1a,abc", "x" * 4_097])
def test_what_a_signer_outside_may_not_answer(given_text):
    with pytest.raises(ValueError, match="must be"):
        signing.signature_text(given_text)


def test_only_who_has_a_private_key_pays_for_the_library_it_needs():
    """6 MB of memory in every worker."""
    looks = "import sys, pipeline.core.signing as s; s.signing_key(sys.argv[1]); print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", looks, SECRETS[0]], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
