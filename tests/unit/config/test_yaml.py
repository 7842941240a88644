"""YAML is read by the 1.2 core schema, and what means something else than it seems to is refused."""

from __future__ import annotations

import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import yaml
from pipeline.config.places import Place, Places
from pipeline.config.yaml import DEPTH_MAX, FILE_BYTES_MAX, PROBLEMS_MAX, UNREAD, parse

CDNOW = pathlib.Path("tests/data/config/cdnow")


def read(text: str | bytes) -> tuple[object, list[str]]:
    raw = text if isinstance(text, bytes) else text.encode()
    value, problems = parse("f.yaml", raw, Places())
    return value, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("y", "y"),
        ("22:00", "22:00"),
        ("1:30:00", "1:30:00"),
        ("1_000", "1_000"),
        ("0b101", "0b101"),
        ("2026-11-23", "2026-11-23"),
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"),
        ("=", "="),
        ("0123", 123),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("+7", 7),
        ("-7", -7),
        ("9223372036854775807", 2**63 - 1),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("~", None),
        ("Null", None),
        ("", None),
        ("'~'", "~"),
        ('"true"', "true"),
        ("'12'", "12"),
        ("|\n  one\n  two", "one\ntwo\n"),
        (">-\n  one\n  two", "one two"),
        ("${event.id}", "${event.id}"),
        ("'it''s'", "it's"),
        ('"\\u00e9"', "é"),
        ("[]", []),
        ("{}", {}),
        ("{22:00: 1}", {"22:00": 1}),
        ("{on: 1, NO: 2, 409: 3}", {"on": 1, "NO": 2, 409: 3}),
    ],
)
def test_core_schema(written: str, meant: object) -> None:
    value, problems = read(f"a: {written}\n")
    assert (problems, value) == ([], {"a": meant})
    assert isinstance(value, dict)
    assert type(value["a"]) is type(meant)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a: is here twice (first on line 1)"),
        ("a: {b: 1, b: 2}\n", "f.yaml:1:11: a.b: is here twice (first on line 1)"),
        ("1: a\n0x1: b\n", "f.yaml:2:1: [1]: is here twice (first on line 1)"),
        ("a: &x 1\n", "f.yaml:1:4: a: anchors are refused (write the value out where it is needed)"),
        ("&x a: 1\n", "f.yaml:1:1: anchors and tags are refused"),
        ("a: *x\n", "f.yaml:1:4: a: aliases are refused (write the value out)"),
        ("a: !!str 1\n", "f.yaml:1:4: a: tags are refused (quotes make text of anything)"),
        ("a: !!python/object:os.system {}\n", "f.yaml:1:4: a: tags are refused (quotes make text of anything)"),
        ("a: ! x\n", "f.yaml:1:4: a: tags are refused (quotes make text of anything)"),
        ("a: {<<: {b: 1}}\n", "f.yaml:1:5: a: merge keys are refused (write the keys out)"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document is refused (one file is one object)"),
        ("%YAML 1.1\n---\na: on\n", "f.yaml:1:1: directives are refused (the file is YAML 1.2 anyway)"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "f.yaml:1:1: directives are refused (the file is YAML 1.2 anyway)"),
        ("", "f.yaml:1:1: the file is empty"),
        ("# nothing\n", "f.yaml:1:1: the file is empty"),
        ("true: 1\n", "f.yaml:1:1: a key must be text (put it in quotes)"),
        ("~: 1\n", "f.yaml:1:1: a key must be text (put it in quotes)"),
        ("1.5: 1\n", "f.yaml:1:1: a key must be text (put it in quotes)"),
        ("? [a, [b]]\n: 1\n", "f.yaml:1:3: a key must be text"),
        ("a: .inf\n", "f.yaml:1:4: a: is not a finite number (quotes make it text)"),
        ("a: .NaN\n", "f.yaml:1:4: a: is not a finite number (quotes make it text)"),
        ("a: 1e999\n", "f.yaml:1:4: a: is not a finite number (quotes make it text)"),
        ("a: 9223372036854775808\n", "f.yaml:1:4: a: is beyond 64 bits (quotes make it text)"),
        ("a: " + "9" * 5_000 + "\n", "f.yaml:1:4: a: is beyond 64 bits (quotes make it text)"),
        ('a: "\\ud800"\n', "f.yaml:1:4: a: half of a surrogate pair is no character"),
        ("a: b\n  c: d\n", "f.yaml:2:4: not YAML: mapping values are not allowed here"),
        ("a: \x07\n", "f.yaml:1:4: a control character is refused"),
        ("ok: 1\na: \ufeffx\n", "f.yaml:2:4: a control character is refused"),
        (b"ok: 1\na: \xff\n", "f.yaml:2:4: the file is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "f.yaml:1:1: the file is not UTF-8"),
        (b"a: " + b"x" * FILE_BYTES_MAX, "f.yaml: the file is larger than 256 KiB"),
        ("[" * 1_000, f"f.yaml:1:{DEPTH_MAX + 2}: nested deeper than {DEPTH_MAX} levels"),
        ('a: "\\UFFFFFFFF"\n', "f.yaml: not YAML"),
    ],
)
def test_refused(text: str | bytes, expected: str) -> None:
    _, problems = read(text)
    assert problems == [expected]


def test_a_broken_file_is_no_value() -> None:
    assert read("a: [\n")[0] is UNREAD


def test_all_problems_of_a_file_at_once() -> None:
    _, problems = read("a: &x 1\na: 2\nb: !t 3\nc: .inf\n? {d: 1}\n: 4\n")
    assert [each.split(":")[1] for each in problems] == ["1", "2", "3", "4", "5"]


def test_problems_are_bounded() -> None:
    _, problems = read("a: 1\n" * 1_000)
    assert len(problems) == PROBLEMS_MAX


def test_what_a_refused_key_holds_is_passed_over() -> None:
    value, _ = read("a: 1\na: {b: [1, {c: 2}], d: 3}\ne: 5\n")
    assert value == {"a": 1, "e": 5}


def test_a_byte_order_mark_and_carriage_returns_are_fine() -> None:
    assert read(b"\xef\xbb\xbfa: 1\r\nb: [2]\r\n") == ({"a": 1, "b": [2]}, [])


def test_positions_of_values_and_keys() -> None:
    places = Places()
    parse("f.yaml", b"a:\n  - b: 'x'\n    c: [1, 2]\n", places)
    assert places.where("f.yaml", ("a", 0, "b")) == Place("f.yaml", 2, 8)
    assert places.key("f.yaml", ("a", 0, "b")) == Place("f.yaml", 2, 5)
    assert places.where("f.yaml", ("a", 0, "c", 1)) == Place("f.yaml", 3, 12)
    assert places.where("f.yaml", ("a", 0, "not", "there")) == Place("f.yaml", 2, 5)
    assert places.where("other.yaml", ("a",)) == Place("other.yaml", 0, 0)


@given(st.one_of(st.text(max_size=200), st.text("{}[]:,-?&*!|>'\"%@` \n\tab1.~<", max_size=60)))
def test_any_text_is_a_value_or_a_problem(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    value, problems = read(raw)
    assert problems or value is not UNREAD


# ------------------------------------------------------------------------------------------------------- two parsers

WORDS = [
    "a", "b: ", "c:", "- ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", ",", ": ", ":", "'", '"', "#", " #x",
    "~", "? ",
    "${a.b}", "|", "|-\n  x", ">", "&a ", "*a", "!t ", "%", "---", "...", "\t", "null", "1", "0x1", "\u00e9", "\u2028",
    "\x85", "\\n", "\\u00e9", "<<", " ", "  ", "@", "`", "==", "\r\n", "\U0001f600", "''", '""',
]  # fmt: skip
USUAL = ["hookline.yaml", "journeys/purchase_thanks.yaml", "destinations/crm.yaml", "env/test.yaml"]


def read_by(events, text: str) -> tuple[object, object, object]:
    places = Places()
    reader = yaml._Reader("f.yaml", places, events)
    value = reader.document(text.encode())
    return value, places._values, places._keys


def same(text: str) -> bool:
    """Compare the parsers where the quick one has no doubt and no problem; say whether that was so."""
    try:
        quick = read_by(yaml._quick_events, text)
    except (yaml._DoubtError, yaml._Stop):
        return False
    reader = yaml._Reader("f.yaml", Places(), yaml._quick_events)
    reader.document(text.encode())
    if reader.problems:
        return False
    assert quick == read_by(yaml._events, text)
    return True


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map("".join))
def test_both_parsers_read_the_same(text: str) -> None:
    same(text)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(USUAL), st.integers(0, 1_000), st.integers(0, 3), st.sampled_from(WORDS))
def test_both_parsers_read_the_same_of_files_with_a_slip(file: str, at: int, gone: int, slip: str) -> None:
    text = (CDNOW / file).read_text()
    same(text[:at] + slip + text[at + gone :])


@pytest.mark.parametrize("file", USUAL)
def test_what_is_usual_is_read_by_the_quick_one(file: str) -> None:
    assert same((CDNOW / file).read_text())


def test_without_libyaml_all_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = (CDNOW / USUAL[1]).read_bytes()
    quick = parse("f.yaml", raw, Places())
    monkeypatch.setattr(yaml, "CParser", None)
    assert parse("f.yaml", raw, Places()) == quick
