"""Who may have sent a request. The judges: the standardwebhooks package, and what the owners of the forms publish."""

from __future__ import annotations

import base64
import hmac
import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from pipeline.core import signing
from pipeline.receiver import Reason, github, standard_webhooks, stripe
from tests.support import requests

NOW = 1_700_000_000
OLD, NEW, OTHER = (requests.secret(number) for number in (1, 2, 3))

# The specification shows this v1a signature; Svix, where it comes from, has published the message and the key pair. The
# specification's v1 signature has no published secret: this one is what the tests of its libraries compare with.
MESSAGE = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330"}
MESSAGE_BODY, MESSAGE_S = b'{"test": 2432232314}', 1_614_265_330
V1_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
V1A_PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def reason(refused):
    return None if refused is None else refused.reason


def sent(*secrets, body=b"{}", now_s=NOW, **changed):
    headers = requests.signed(body, *secrets or (OLD,), now_s=now_s)
    return {**headers, **{name.replace("_", "-"): content for name, content in changed.items()}}


# ------------------------------------------------------------------------------------------------- Standard Webhooks


@pytest.mark.parametrize(("key", "signature"), [(V1_SECRET, V1), (V1A_PUBLIC, V1A)])
def test_the_published_examples_are_accepted_and_nothing_near_them(key, signature):
    verify, headers = standard_webhooks([key]), MESSAGE | {"webhook-signature": signature}
    assert verify(headers, MESSAGE_BODY, MESSAGE_S) is None
    assert reason(verify(headers, MESSAGE_BODY + b" ", MESSAGE_S)) is Reason.SIGNATURE
    for name, content in (("webhook-id", "msg_other"), ("webhook-timestamp", "1614265331")):
        assert reason(verify(headers | {name: content}, MESSAGE_BODY, MESSAGE_S)) is Reason.SIGNATURE
    both = headers | {"webhook-signature": f"v1a,AAAA v1,AAAA v2,x {signature}"}
    assert verify(both, MESSAGE_BODY, MESSAGE_S) is None


@given(st.binary(min_size=24, max_size=64), st.text(max_size=50))
def test_what_the_official_library_signs_is_accepted(key, text):
    secret, now = "whsec_" + base64.b64encode(key).decode(), int(time.time())
    signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(now, UTC), text)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}
    assert standard_webhooks([secret])(headers, text.encode(), now) is None


@pytest.mark.parametrize(
    "change", [{}, {"webhook_id": "other"}, {"webhook_signature": "v1,"}, {"webhook_timestamp": "1"}]
)
def test_the_official_library_agrees_about_requests_of_hooklines_signer(change):
    now = time.time()
    headers = sent(now_s=now, **change)
    refused = standard_webhooks([OLD])(headers, b"{}", now)
    if change:
        assert refused is not None
        with pytest.raises(WebhookVerificationError):
            Webhook(OLD).verify(b"{}", headers)
    else:
        assert refused is None
        Webhook(OLD).verify(b"{}", headers)


@pytest.mark.parametrize(
    ("signing", "accepting", "good"),
    [
        ([OLD], [OLD], True),
        ([NEW, OLD], [OLD], True),  # the sender has both, the endpoint has not switched yet
        ([NEW, OLD], [NEW], True),  # and now it has
        ([OLD], [NEW, OLD], True),  # the endpoint has both first
        ([NEW], [V1A_PUBLIC, OLD, NEW], True),
        ([OLD], [NEW, OTHER], False),
        ([OLD], [V1A_PUBLIC], False),
    ],
)
def test_keys_overlap_while_they_are_rotated(signing, accepting, good):
    assert (standard_webhooks(accepting)(sent(*signing), b"{}", NOW) is None) == good


def test_any_of_several_public_keys_fits():
    public = "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()
    signature = "v1a," + base64.b64encode(PRIVATE.sign(b"a.%d.{}" % NOW)).decode()
    headers = {"webhook-id": "a", "webhook-timestamp": str(NOW), "webhook-signature": signature}
    assert standard_webhooks([V1A_PUBLIC, public])(headers, b"{}", NOW) is None
    assert reason(standard_webhooks([V1A_PUBLIC])(headers, b"{}", NOW)) is Reason.SIGNATURE


@pytest.mark.parametrize(("off_s", "good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_the_timestamp_may_be_five_minutes_off_in_both_directions(off_s, good):
    verify = standard_webhooks([OLD])
    assert reason(verify(sent(), b"{}", NOW + off_s)) is (None if good else Reason.TIMESTAMP)
    assert reason(standard_webhooks([OLD], tolerance_s=400)(sent(), b"{}", NOW + off_s)) is None


@pytest.mark.parametrize("stamp", ["", "-5", "1e9", "soon", "\u0661\u0662", " 1700000000", "1" * 400])
def test_a_timestamp_that_is_no_number_is_refused(stamp):
    assert reason(standard_webhooks([OLD])(sent(webhook_timestamp=stamp), b"{}", NOW)) is Reason.SIGNATURE


def test_a_full_stop_in_the_id_cannot_move_a_part_of_the_body():
    """One signed text of two requests: an old one (ID `a`, time 5, body `NOW.x`), and a fresh one with the ID `a.5`."""
    mac = base64.b64encode(hmac.digest(b"\1" * 32, b"a.5.%d.x" % NOW, "sha256")).decode()
    forged = {"webhook-id": "a.5", "webhook-timestamp": str(NOW), "webhook-signature": f"v1,{mac}"}
    assert reason(standard_webhooks([OLD])(forged, b"x", NOW)) is Reason.SIGNATURE


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(name):
    headers = sent()
    del headers[name]
    assert reason(standard_webhooks([OLD])(headers, b"{}", NOW)) is Reason.SIGNATURE


def test_signatures_past_the_bound_are_not_looked_at():
    headers = sent()
    many = " ".join(["v1,AAAA"] * 16 + [headers["webhook-signature"]])
    assert reason(standard_webhooks([OLD])(headers | {"webhook-signature": many}, b"{}", NOW)) is Reason.SIGNATURE


# ---------------------------------------------------------------------------------------------------- GitHub, Stripe


def test_githubs_published_example():
    verify = github(["other", "It's a Secret to Everybody"])
    good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert verify({"x-hub-signature-256": good}, b"Hello, World!", NOW) is None
    assert verify({"x-hub-signature-256": f"sha256=00, {good}"}, b"Hello, World!", NOW) is None
    for header, body in (
        (good, b"Hello, World?"),
        (good[7:], b"Hello, World!"),
        ("", b""),
        (good[:-1], b"Hello, World!"),
    ):
        assert reason(verify({"x-hub-signature-256": header}, body, NOW)) is Reason.SIGNATURE


def stripes(secret, body, stamp=NOW):
    """By Stripe's description: the HMAC of timestamp, full stop and body, with the secret's text as key."""
    mac = hmac.new(secret.encode(), f"{stamp}.".encode() + body, "sha256").hexdigest()
    return {
        "stripe-signature": f"t={stamp},v1={mac},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
    }


def test_stripes_form():
    verify = stripe(["whsec_new", "whsec_old"])
    good = stripes("whsec_old", b"{}")
    assert verify(good, b"{}", NOW) is None
    rotated = good["stripe-signature"].replace(",v1=", f",v1={'0' * 64},v1=")
    assert verify({"stripe-signature": rotated}, b"{}", NOW) is None
    assert reason(verify(good, b"{ }", NOW)) is Reason.SIGNATURE
    assert reason(verify(stripes("whsec_other", b"{}"), b"{}", NOW)) is Reason.SIGNATURE
    assert reason(verify(stripes("whsec_old", b"{}", NOW - 301), b"{}", NOW)) is Reason.TIMESTAMP
    assert reason(verify(stripes("whsec_old", b"{}", NOW + 301), b"{}", NOW)) is Reason.TIMESTAMP
    twice = good["stripe-signature"].replace("t=", f"t={NOW + 1},t=", 1)
    late = good["stripe-signature"].replace(",v1", f",t={NOW + 1},v1", 1)
    only_v0 = good["stripe-signature"].replace("v1=", "v2=")
    for header in (twice, late, only_v0, "t=", "v1", "", f"t={NOW},v1="):
        assert reason(verify({"stripe-signature": header}, b"{}", NOW)) is Reason.SIGNATURE


def told(lines):
    """Header lines of the signer, as a server gives them."""
    return {"webhook-id": "msg_1"} | {
        name.lower(): text for name, text in (line.split(": ", 1) for line in lines.decode("ascii").splitlines())
    }


@pytest.mark.parametrize(
    ("sign", "verify", "another"),
    [
        (signing.github(b"canary"), github(["canary"]), github(["other"])),
        (signing.stripe(b"canary"), stripe(["canary"]), stripe(["other"])),
        (
            signing.signer([], [signing.private_key("whsk_" + base64.b64encode(b"s" * 32).decode())]),
            standard_webhooks(["whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()]),
            standard_webhooks([V1A_PUBLIC]),
        ),
    ],
)
def test_every_form_hookline_signs_by_is_accepted_here(sign, verify, another):
    headers = told(sign(b"msg_1", b"%d" % NOW, b"{}"))
    assert verify(headers, b"{}", NOW) is None
    assert reason(verify(headers, b"{ }", NOW)) is Reason.SIGNATURE
    assert reason(another(headers, b"{}", NOW)) is Reason.SIGNATURE


# ------------------------------------------------------------------------------------------------------ whatever comes


@pytest.mark.parametrize("verify", [standard_webhooks([OLD, V1A_PUBLIC]), github(["k"]), stripe(["k"])])
@given(st.text(), st.one_of(st.text(), st.just(str(NOW))), st.text(), st.binary(max_size=20))
def test_nothing_that_comes_raises_or_is_accepted(verify, name, stamp, signature, body):
    headers = {
        "webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature} v1a,{signature}",
        "x-hub-signature-256": f"sha256={signature}", "stripe-signature": f"t={stamp},v1={signature}",
    }  # fmt: skip
    assert verify(headers, body, NOW).status == 401


@pytest.mark.parametrize(
    "keys",
    [[], [""], ["whsec_"], ["k" * 32], ["whsec_?!" * 8], ["whsec_" + "\u00e9" * 44], [OLD[:-20]], ["whpk_" + "A" * 40],
     ["whpk_"], ["whsk_" + "A" * 44], [OLD] * 17, OLD],
)  # fmt: skip
def test_a_key_of_another_form_is_refused_and_not_quoted(keys):
    with pytest.raises(ValueError, match=r"must be (whsec_|whpk_|a list)") as raised:
        standard_webhooks(keys)
    assert not any(key.split("_")[-1] in str(raised.value) for key in keys if len(key) > 10)


@pytest.mark.parametrize("make", [github, stripe])
@pytest.mark.parametrize("secrets", [[], [""], ["a", ""], "text"])
def test_an_empty_secret_is_refused(make, secrets):
    with pytest.raises(ValueError, match="must"):
        make(secrets)
