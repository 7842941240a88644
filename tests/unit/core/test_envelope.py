"""What event a datum is, and the reasons why it is none, which never quote a value."""

import pytest

from pipeline.core import envelope
from pipeline.model import ABSENT, Event, Record, Undecodable

UUID = "0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d"
NOW = 1_795_000_000_000
DAY = 86_400_000
RECORD = Record("orders", 3, 17, b"k", b"v", (), NOW)


def at(*names):
    def get(datum, _now_ms):
        for name in names:
            datum = datum.get(name)
            if datum is None:
                return ABSENT
        return datum

    return get


def parts(**changes):
    defaults = {"id": at("id"), "uuid": False, "type": at("type"), "time": at("time"), "customer": at("customer"),
                "consent": at("consent")}  # fmt: skip
    return envelope.Parts(**(defaults | changes))


def datum(**changes):
    return {"id": UUID, "type": "order.placed", "time": NOW, "customer": "c-1", "consent": {}} | changes


def make(given, record=RECORD, **changes):
    return envelope.envelope(parts(**changes))(given, record)


def test_an_event_is_made_of_its_parts():
    given = datum(consent={"email": "granted", "marketing": "denied", "sms": "maybe"})
    flags = {"email": True, "marketing": False}
    assert make(given) == Event(UUID, "order.placed", NOW, "c-1", flags)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"id": None}, "id: missing or empty"),
        ({"id": ""}, "id: missing or empty"),
        ({"id": 7}, "id: missing or empty"),
        ({"id": "x" * 201}, "id: longer than 200 characters"),
        ({"id": "a\r\nx-evil: 1"}, "id: holds control characters"),
        ({"id": "a\x00"}, "id: holds control characters"),
        ({"id": "a\u2028b"}, "id: holds control characters"),
        ({"type": None}, "type: missing or empty"),
        ({"type": "a\nb"}, "type: holds control characters"),
        ({"type": "t" * 129}, "type: longer than 128 characters"),
        ({"customer": None}, "customer.id: missing or empty"),
        ({"customer": ""}, "customer.id: missing or empty"),
        ({"customer": "c" * 501}, "customer.id: longer than 500 characters"),
        ({"time": None}, "time: missing or not a timestamp"),
        ({"time": "2026"}, "time: missing or not a timestamp"),
        ({"time": True}, "time: missing or not a timestamp"),
        ({"time": -1}, "time: before 1970-01-01T00:00:00Z"),
        ({"time": NOW + DAY + 1}, "time: more than 24 h after the record's timestamp"),
        ({"time": 2**63 - 1}, "time: more than 24 h after the record's timestamp"),
    ],
)
def test_what_is_no_event_says_which_rule_was_broken(change, detail):
    assert make(datum(**change)) == Undecodable(detail)


@pytest.mark.parametrize("time_ms", [0, 876_000_000_000, NOW, NOW + DAY - 1])
def test_any_time_since_1970_up_to_a_day_ahead_is_taken(time_ms):
    made = make(datum(time=time_ms))
    assert isinstance(made, Event)
    assert made.time_ms == time_ms


@pytest.mark.parametrize("stamp", [-1, 0])
def test_a_record_without_timestamp_says_nothing_about_now(stamp):
    record = Record("orders", 3, 17, None, b"", (), stamp)
    assert isinstance(make(datum(), record), Event)
    assert isinstance(make(datum(time=253_402_300_800_000), record), Undecodable)


@pytest.mark.parametrize("bad", ["x", UUID[:-1], UUID + "0", UUID.replace("-", ""), "g" + UUID[1:]])
def test_an_id_that_should_be_a_uuid_is_checked(bad):
    assert isinstance(make(datum(id=UUID.upper()), uuid=True), Event)
    assert make(datum(id=bad), uuid=True) == Undecodable("id: not a UUID of 36 characters")


def test_a_position_can_be_the_id_and_payloads_can_name_it():
    given = datum(id=None)
    made = make(given, id=None)
    assert isinstance(made, Event)
    assert made.id == "orders/3/17"
    assert given[envelope.POSITION] == made.id


@pytest.mark.parametrize(
    ("given", "flag"),
    [(True, True), (False, False), ("granted", True), ("denied", False), ("yes", None), (1, None), (0, None),
     (None, None), (ABSENT, None), (1.0, None), ([], None)],
)  # fmt: skip
def test_only_a_boolean_or_the_word_is_a_flag(given, flag):
    one = [("marketing.email", lambda _datum, _now: given)]
    made = make(datum(), consent=one)
    assert isinstance(made, Event)
    assert made.consent == ({} if flag is None else {"marketing.email": flag})
    whole = make(datum(consent={"marketing.email": given}))
    assert isinstance(whole, Event)
    assert whole.consent == made.consent


def test_consent_that_is_no_map_is_none():
    made = make(datum(consent="granted"))
    assert isinstance(made, Event)
    assert made.consent == {}
