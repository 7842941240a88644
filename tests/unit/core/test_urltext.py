"""Path, query and form bodies: values are written so that they change nothing around them."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from pipeline.core.urltext import TARGET_BYTES_MAX, Parameter, constant_query, form, is_dots, scalar_text, target
from pipeline.model import ABSENT, FailureClass, Refused

TEXT = st.text(alphabet=st.characters(codec="utf-8"))


def parameter(name, field=""):
    return Parameter(field or name, lambda datum, _now_ms: datum.get(name, ABSENT))


def made(path, query=(), **datum):
    return target(path, query)(datum, 0)


ACCOUNT = ["/v3/accounts/", parameter("account"), "/notes"]


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ("a-1_~.", b"/v3/accounts/a-1_~./notes"),
        (7, b"/v3/accounts/7/notes"),
        (2**70, b"/v3/accounts/1180591620717411303424/notes"),
        (0.5, b"/v3/accounts/0.5/notes"),
        (True, b"/v3/accounts/true/notes"),
        ("a/b", b"/v3/accounts/a%2Fb/notes"),
        ("../admin", b"/v3/accounts/..%2Fadmin/notes"),
        ("a?b=c#d", b"/v3/accounts/a%3Fb%3Dc%23d/notes"),
        ("a b\r\nHost: x", b"/v3/accounts/a%20b%0D%0AHost%3A%20x/notes"),
        ("%2e%2e", b"/v3/accounts/%252e%252e/notes"),
        ("...", b"/v3/accounts/.../notes"),
        ("é", b"/v3/accounts/%C3%A9/notes"),
        ("", Refused(FailureClass.MISSING_FIELD, "account")),
        (ABSENT, Refused(FailureClass.MISSING_FIELD, "account")),
        (".", Refused(FailureClass.SCHEMA, "account")),
        ("..", Refused(FailureClass.SCHEMA, "account")),
        ([1], Refused(FailureClass.SCHEMA, "account")),
        ({}, Refused(FailureClass.SCHEMA, "account")),
        (float("nan"), Refused(FailureClass.SCHEMA, "account")),
        ("\ud800", Refused(FailureClass.SCHEMA, "account")),
        (Refused(FailureClass.CONFIG, "account"), Refused(FailureClass.CONFIG, "account")),
        ("x" * TARGET_BYTES_MAX, Refused(FailureClass.SCHEMA, "target_too_long")),
    ],
)
def test_a_path_parameter(account, expected):
    assert made(ACCOUNT, account=account) == expected


@given(TEXT)
def test_no_value_changes_the_structure_of_a_path(text):
    found = made(ACCOUNT, account=text)
    if isinstance(found, Refused):
        assert text in ("", ".", "..") or found.field == "target_too_long"
        return
    parts = urlsplit(found.decode("ascii"))
    assert (parts.query, parts.fragment) == ("", "")
    before, account, after = parts.path.removeprefix("/v3/").split("/")
    assert (before, unquote(account, errors="strict"), after) == ("accounts", text, "notes")


@given(TEXT)
def test_other_peoples_parsers_leave_a_path_as_it_is(text):
    found = made(ACCOUNT, account=text)
    if not isinstance(found, Refused):
        assert len(URL("https://crm.example" + found.decode("ascii")).raw_parts) == 5


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ([".", parameter("x")], True), (["%2E", parameter("x")], True), ([parameter("x"), parameter("x")], True),
        (["a", parameter("x")], False), ([parameter("x"), "~"], False),
    ],
)  # fmt: skip
def test_a_whole_segment_is_never_made_of_dots(path, refused):
    found = made(["/", *path], x=".")
    assert isinstance(found, Refused) is refused


@pytest.mark.parametrize(
    ("segment", "dots"), [(".", True), ("%2e%2E", True), (".%2e", True), ("...", False), ("", False)]
)
def test_dots(segment, dots):
    assert is_dots(segment) is dots


QUERY = [
    ("expand", False, "owner&co"),
    ("since", False, parameter("since", "query.since")),
    ("a b", True, parameter("x")),
]


def test_a_query():
    assert made(["/v3"], QUERY, since="1+1 &=") == b"/v3?expand=owner%26co&since=1%2B1%20%26%3D"
    assert made(["/v3"], QUERY, since="", x=False) == b"/v3?expand=owner%26co&since=&a%20b=false"
    assert made([""], QUERY[1:2], since=1) == b"?since=1"
    assert made(["/v3"], QUERY[2:]) == b"/v3"
    assert made(["/v3"], QUERY) == Refused(FailureClass.MISSING_FIELD, "query.since")
    assert made(["/v3"], QUERY, since=[]) == Refused(FailureClass.SCHEMA, "query.since")
    assert constant_query([("a b", "c&d"), ("e", "")]) == "a%20b=c%26d&e="


@given(st.dictionaries(TEXT.filter(bool), TEXT, min_size=1))
def test_a_query_reads_back(pairs):
    found = made(
        ["/"], [(name, False, Parameter(name, lambda _d, _n, text=text: text)) for name, text in pairs.items()]
    )
    if not isinstance(found, Refused):
        read = parse_qsl(found.decode("ascii").partition("?")[2].replace("+", "%2B"), keep_blank_values=True)
        assert dict(read) == pairs


def test_a_form():
    assert form({"a b": "c d", "n": 1, "f": 0.5, "t": True, "e": "é*-._~&=+"}) == (
        b"a+b=c+d&n=1&f=0.5&t=true&e=%C3%A9*-._%7E%26%3D%2B"
    )
    assert form({}) == b""
    assert form({"a": None}) == form({"a": []}) == form({"a": "\ud800"}) == Refused(FailureClass.SCHEMA, "a")


@given(st.dictionaries(TEXT.filter(bool), TEXT))
def test_a_form_reads_back(pairs):
    assert dict(parse_qsl(form(pairs).decode("ascii"), keep_blank_values=True)) == pairs


def test_text_of_what_is_no_text():
    assert [scalar_text(each) for each in (None, [], {}, float("inf"))] == [None] * 4
