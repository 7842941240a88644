"""What is sent: body, head and delivery ID."""

import json
import sys
import tracemalloc
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import payload, urltext
from pipeline.model import ABSENT, Credentials, Event, FailureClass, Refused

NAMESPACE = uuid.UUID("6f9d1c3a-52c4-5d0e-9a53-0d3f2b7a8c11")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def get(name):
    """Read a key of the datum; None in it stands for an expression's error."""
    return lambda datum, _now_ms: datum.get(name, ABSENT)


def leaf(name, field=None):
    return payload.leaf(get(name), field or name)


def sent(body, **datum):
    made = payload.render(body)(datum, 0)
    return made if isinstance(made, Refused) else json.loads(made)


# ------------------------------------------------------------------------------------------------------------ body


BODY = payload.mapping(
    [
        ("id", False, leaf("id")),
        ("source", False, payload.Constant("hookline")),
        ("campaign", True, leaf("campaign")),
        ("total", False, leaf("total")),
    ]
)


def test_keys_keep_the_order_of_the_configuration():
    made = payload.render(BODY)({"total": 1, "id": "x", "campaign": "c"}, 0)
    assert made == b'{"id":"x","source":"hookline","campaign":"c","total":1}'


def test_an_optional_key_is_left_out_and_a_required_one_is_refused():
    assert sent(BODY, id="x", total=1) == {"id": "x", "source": "hookline", "total": 1}
    assert sent(BODY, id="x") == Refused(FailureClass.MISSING_FIELD, "total")


def test_an_error_is_refused_even_in_an_optional_key():
    assert sent(BODY, id="x", total=1, campaign=None) == Refused(FailureClass.CONDITION_ERROR, "campaign")


def test_one_event_leaves_nothing_behind_for_the_next():
    assert sent(BODY, id="x", total=1, campaign="c")["campaign"] == "c"
    assert "campaign" not in sent(BODY, id="y", total=2)


def test_nested_objects_name_the_whole_path():
    inner = payload.mapping([("city", False, leaf("city", "address.city"))], "address")
    body = payload.mapping([("address", False, inner)])
    assert sent(body, city="Ulm") == {"address": {"city": "Ulm"}}
    assert sent(body) == Refused(FailureClass.MISSING_FIELD, "address.city")
    optional = payload.mapping([("address", True, inner)])
    assert sent(optional) == {}


def test_lists():
    body = payload.mapping([("tags", False, payload.sequence([payload.Constant("a"), leaf("b", "tags[]")], "tags"))])
    assert sent(body, b="c") == {"tags": ["a", "c"]}
    assert sent(body) == Refused(FailureClass.MISSING_FIELD, "tags[]")


def test_a_body_of_constants_is_bytes_from_the_start():
    parts = [payload.Constant(1), payload.Constant(None)]
    constant = payload.mapping([("a", False, payload.sequence(parts, "a")), ("b", True, payload.Constant({"c": 2}))])
    assert isinstance(constant, payload.Constant)
    rendered = payload.render(constant)
    assert rendered({}, 0) == b'{"a":[1,null],"b":{"c":2}}'
    assert rendered({}, 0) is rendered({}, 1)
    assert payload.render(None)({}, 0) == b""


def items(name="lines"):
    def sku(pair, _now_ms):
        return pair[1].get("sku", ABSENT)

    def shop(pair, _now_ms):
        return pair[0]["shop"]

    item = payload.mapping(
        [("sku", False, payload.leaf(sku, "lines[].sku")), ("shop", False, payload.leaf(shop, "lines[].shop"))],
        "lines[]",
    )
    return payload.mapping([("lines", False, payload.each(get(name), item, "lines"))])


def test_a_body_up_to_its_bound_is_sent_and_one_beyond_it_refused():
    text = payload.mapping([("t", False, payload.leaf(lambda datum, _: datum["t"], "t"))])
    framing = len(b'{"t":""}')
    largest = "x" * (payload.BODY_BYTES_MAX - framing)
    made = payload.render(text)({"t": largest}, 0)
    assert len(made) == payload.BODY_BYTES_MAX
    assert payload.render(text)({"t": largest + "x"}, 0) == Refused(FailureClass.SCHEMA, "body_too_large")


@pytest.mark.parametrize("write", [orjson.dumps, payload.json_line, urltext.form])
def test_a_body_that_waits_takes_the_memory_of_its_own_bytes(write):
    """The writer's buffer of some KB goes once the body is made: thousands of bodies wait at once."""
    rendered = payload.render(BODY, write)
    tracemalloc.start()
    try:
        bodies = [rendered({"id": "x" * 50, "total": number}, 0) for number in range(300)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < sum(map(sys.getsizeof, bodies)) + 60 * len(bodies)


def test_a_list_mapping_sees_the_item_and_the_event():
    assert sent(items(), shop="s", lines=[{"sku": "A"}, {"sku": "B"}]) == {
        "lines": [{"sku": "A", "shop": "s"}, {"sku": "B", "shop": "s"}]
    }
    assert sent(items(), shop="s", lines=[]) == {"lines": []}


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        ([{}], Refused(FailureClass.MISSING_FIELD, "lines[].sku")),
        ("text", Refused(FailureClass.CONDITION_ERROR, "lines")),
        ([{"sku": "A"}] * 501, Refused(FailureClass.SCHEMA, "lines")),
    ],
)
def test_a_list_mapping_refuses(lines, refused):
    assert sent(items(), shop="s", lines=lines) == refused


def test_what_json_cannot_say_is_refused_and_never_raises():
    body = payload.mapping([("n", False, leaf("n"))])
    assert sent(body, n=2**64) == Refused(FailureClass.SCHEMA, "")
    assert sent(body, n=2**63) == {"n": 2**63}


def test_a_body_is_written_as_asked():
    assert payload.render(BODY, payload.json_line)({"total": 1, "id": "x"}, 0).endswith(b'"total":1}\n')
    assert payload.render(BODY, lambda made: made["id"].encode())({"total": 1, "id": "x"}, 0) == b"x"
    assert payload.render(payload.Constant({}), payload.json_line)({}, 0) == b"{}\n"


def test_a_body_that_breaks_its_contract_is_refused_with_what_the_contract_says():
    def contract(made):
        return "#/total type" if made["total"] == "hush" else ""

    rendered = payload.render(BODY, contract=contract)
    assert rendered({"total": "hush", "id": "x"}, 0) == Refused(FailureClass.SCHEMA, "#/total type")
    assert rendered({"id": "x"}, 0) == Refused(FailureClass.MISSING_FIELD, "total")
    assert json.loads(rendered({"total": 1, "id": "x"}, 0))["total"] == 1
    constant = payload.render(payload.Constant({"total": "hush"}), contract=contract)
    assert constant({}, 0) == Refused(FailureClass.SCHEMA, "#/total type")


@pytest.mark.parametrize("write", [payload.json_line, None])
@pytest.mark.parametrize("content", [{}, {"a": "}"}, {"a": {"b": [{}]}}])
def test_metadata_joins_the_body_as_one_key(content, write):
    body = payload.render(payload.Constant(content), write) if write else payload.render(payload.Constant(content))
    made = payload.metadata("cart", "mail")(body({}, 0), EVENT, "d-1")
    assert made.endswith(b"}\n") is bool(write)
    facts = {
        "event_id": EVENT.id, "event_type": "order.placed", "event_time": "2026-11-23T10:00:00.007Z",
        "journey": "cart", "step": "mail", "delivery_id": "d-1",
    }  # fmt: skip
    assert json.loads(made) == content | {"hookline": facts}
    assert payload.sample("cart", "mail").keys() == facts.keys()


# ------------------------------------------------------------------------------------------------------------ head


def head(credentials=None, **changes):
    given = {"method": "POST", "target": "/v1/x", "host": "crm.example", "headers": [("User-Agent", "hookline/0")]}
    return payload.head(**(given | changes), credentials=credentials or Credentials())


def lines_of(made):
    assert made.endswith(b"\r\n\r\n")
    first, *rest = made[:-4].decode("ascii").split("\r\n")
    return first, dict(line.split(": ", 1) for line in rest)


EVENT = Event("0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d", "order.placed", 1_795_428_000_007, "c", {})


def test_a_head_is_complete():
    first, headers = lines_of(head()("id-1", payload.event_headers(EVENT), TRACEPARENT, 5, b"12345"))
    assert first == "POST /v1/x HTTP/1.1"
    assert headers == {
        "Host": "crm.example",
        "User-Agent": "hookline/0",
        "hookline-event-id": EVENT.id,
        "hookline-event-type": "order.placed",
        "hookline-event-time": "2026-11-23T10:00:00.007Z",
        "webhook-id": "id-1",
        "traceparent": TRACEPARENT,
        "Content-Length": "5",
    }


def test_a_destination_may_want_the_delivery_id_under_its_own_name():
    _, headers = lines_of(head(id_header="Idempotency-Key")("id-1", b"", TRACEPARENT, 5, b""))
    assert headers["Idempotency-Key"] == headers["webhook-id"] == "id-1"


@pytest.mark.parametrize(
    "change",
    [
        {"headers": [("X", "a\r\nEvil: 1")]}, {"headers": [("X\n", "a")]}, {"headers": [("X", "\u00e9")]},
        {"host": "a\nb"}, {"target": "/a b"}, {"target": "x"}, {"target": "/\r\n"},
    ],
)  # fmt: skip
def test_constant_parts_that_would_break_the_head_are_refused(change):
    with pytest.raises(ValueError, match=r"ASCII|path"):
        head(**change)


def signed_as(text):
    return lambda name, stamp, body: b"signature: %b %b %b %b\r\n" % (text, name, stamp, body)


def test_credentials_are_part_of_the_head_and_are_replaced_as_one():
    credentials = Credentials("/secret", "key=k1", b"Authorization: Bearer t1\r\n", signed_as(b"s1"))
    build = head(credentials, target="/v1?a=b")
    first, headers = lines_of(build("id-1", b"", TRACEPARENT, 5, b"x"))
    assert first == "POST /secret/v1?a=b&key=k1 HTTP/1.1"
    assert headers["Authorization"] == "Bearer t1"
    assert headers["signature"] == "s1 id-1 5 x"
    credentials.replace(Credentials("/other", "", b"Authorization: Bearer t2\r\n"))
    first, headers = lines_of(build("id-1", b"", TRACEPARENT, 5, b"x"))
    assert first == "POST /other/v1?a=b HTTP/1.1"
    assert headers["Authorization"] == "Bearer t2"
    assert "signature" not in headers


@pytest.mark.parametrize(
    ("base", "target", "own", "query", "expected"),
    [
        ("/api", "", b"", "", "/api"), ("", "", b"", "", "/"), ("", "", b"", "k=1", "/?k=1"),
        ("", "?a=b", b"", "", "/?a=b"),
        ("/api", "/a", b"/b/c?d=e", "", "/api/b/c?d=e"), ("/api", "/a", b"/b?d=e", "k=1", "/api/b?d=e&k=1"),
        ("", "/a", b"/b", "k=1", "/b?k=1"), ("", "", b"?d=e", "k=1", "/?d=e&k=1"),
        ("/api", "", b"?d=e", "", "/api?d=e"),
    ],
)  # fmt: skip
def test_a_deliverys_own_target_goes_below_the_base_url_and_before_what_is_secret(base, target, own, query, expected):
    build = head(Credentials("", query), base=base, target=target)
    first, _ = lines_of(build("id-1", b"", TRACEPARENT, 5, b"", own))
    assert first == f"POST {expected} HTTP/1.1"


def test_a_deliverys_own_target_follows_credentials_too():
    credentials = Credentials("/secret", "key=k1", b"Authorization: Bearer t1\r\n")
    build = head(credentials, target="/v1")
    first, headers = lines_of(build("id-1", b"", TRACEPARENT, 5, b"x", b"/v1/7?a=b"))
    assert (first, headers["Authorization"]) == ("POST /secret/v1/7?a=b&key=k1 HTTP/1.1", "Bearer t1")
    credentials.replace(Credentials("/other", "", b"Authorization: Bearer t2\r\n"))
    first, headers = lines_of(build("id-1", b"", TRACEPARENT, 5, b"x", b"/v1/7?a=b"))
    assert (first, headers["Authorization"]) == ("POST /other/v1/7?a=b HTTP/1.1", "Bearer t2")


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_event_can_add_a_header(event_id, event_type):
    made = payload.event_headers(Event(event_id, event_type, 0, "c", {}))
    assert made.count(b"\r\n") == 3
    assert all(0x20 <= byte < 0x7F for byte in made.replace(b"\r\n", b""))


@given(st.text())
def test_percent_encoding_can_be_undone(text):
    made = payload.header_text(text).decode("ascii")
    assert unquote(made, errors="surrogatepass") == text
    assert made == made.strip()


@given(st.integers(0, 253_402_300_799_999))
def test_the_event_time_is_rfc_3339(ms):
    made = payload.event_headers(Event("e", "t", ms, "c", {})).split(b"\r\n")[2].decode()
    happened = datetime.fromisoformat(made.removeprefix("hookline-event-time: "))
    assert happened == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


# ------------------------------------------------------------------------------------------------------ delivery ID


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_the_delivery_id_is_a_uuid_of_version_5(event_id):
    assert payload.delivery_id(event_id, b"/cart/mail") == str(uuid.uuid5(NAMESPACE, event_id + "/cart/mail"))
