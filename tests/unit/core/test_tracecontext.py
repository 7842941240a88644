"""Which trace an event belongs to: W3C Trace Context for what comes in, the event's own ID otherwise."""

import hashlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import tracecontext

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
EVENT = "0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d"
OWN = EVENT.replace("-", "")


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_the_producers_trace_continues(flags, sampled):
    assert tracecontext.parse(f"00-{TRACE}-{SPAN}-{flags}".encode(), EVENT) == (TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"00",
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN.upper()}-01".encode(),
        f"00-{TRACE}-{SPAN}-0A".encode(),
        f"00-{TRACE[:-1]}-{SPAN}-01".encode(),
        f"00-{TRACE[:-1]}g-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-1".encode(),
        f"00-{TRACE}-{SPAN}-01-more".encode(),  # version 00 ends there
        f" 00-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-01\n".encode(),
        f"00_{TRACE}_{SPAN}_01".encode(),
        f"00-{TRACE[:16]}-{TRACE[17:]}-{SPAN}-01".encode(),  # right length, dashes elsewhere
        f"cc-{TRACE}-{SPAN}-01.more".encode(),
        f"cc-{TRACE}-{SPAN}-01-{'0' * 1000}".encode(),
        b"\xff" * 55,
    ],
)
def test_an_invalid_traceparent_is_as_good_as_none(header):
    assert tracecontext.parse(header, EVENT) == (OWN, "", False)


def test_a_later_version_is_read_as_far_as_it_is_known():
    assert tracecontext.parse(f"cc-{TRACE}-{SPAN}-01".encode(), EVENT) == (TRACE, SPAN, True)
    assert tracecontext.parse(f"cc-{TRACE}-{SPAN}-01-what-comes-next".encode(), EVENT) == (TRACE, SPAN, True)


@pytest.mark.parametrize("text", [EVENT, EVENT.upper(), OWN, OWN.upper()])
def test_a_uuid_is_its_own_trace_id(text):
    assert tracecontext.of_event(text) == OWN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order-4711:placed",
        str(uuid.UUID(int=0)),
        "0" * 32,
        "g" * 32,
        "0x" + "1" * 30,
        "1_" * 16,
        "11 " * 10 + "11",
        "\u0661" * 32,  # digits to Python's int(), not to hex
        "0197b6d21c5e-7a3b-8c4d-5e6f7a8b9c0d-",
        "-" * 36,
        "Käufer/№ 7",
        "\ud800",
    ],
)
def test_any_other_id_is_hashed(text):
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    assert tracecontext.of_event(text) == digest[:32]


def test_what_a_later_version_adds_may_be_any_bytes():
    parsed = tracecontext.parse(b"01-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01-\x80\xff", EVENT)
    assert parsed == ("a" * 32, "b" * 16, True)


@given(
    st.one_of(st.none(), st.binary(max_size=80), st.from_regex(rb"\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"))
)
def test_whatever_comes_in_a_valid_context_comes_out(header):
    trace_id, parent_id, _ = tracecontext.parse(header, EVENT)
    assert len(trace_id) == 32
    assert set(trace_id) <= set("0123456789abcdef")
    assert int(trace_id, 16) != 0
    assert parent_id == "" or (len(parent_id) == 16 and int(parent_id, 16) != 0)


@given(st.uuids(), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_sent_is_what_is_read(event_id, span, sampled):
    trace_id = tracecontext.of_event(str(event_id))
    sent = tracecontext.format(trace_id, f"{span:016x}", sampled)
    assert tracecontext.parse(sent.encode(), EVENT) == (trace_id, f"{span:016x}", sampled)
