"""CEL and templates: what they give, what is wrong with them and where; nothing ever raises or quotes data."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.core import expressions
from pipeline.core.expressions import Expression, Flaw, Unknown, Variable, cel, condition, shared
from pipeline.model import ABSENT

NOW = 1_795_428_000_000
TYPES = {
    "total": "double", "count": "int", "name": "string", "state": "string", "at": "timestamp", "gift": "bool",
    "tags": "list(string)", "lines": "list(map(string, dyn))", "any": "dyn", "ids": "map(string, string)",
}  # fmt: skip


def scope(names):
    """`event.NAME` is the datum's key of that name."""
    if names[0] == "now":
        return Variable("now", "timestamp", lambda *_: datetime.fromtimestamp(NOW / 1000, UTC), lambda *_: "now")
    if names[0] != "event":
        return None
    if len(names) != 2 or names[1] not in TYPES:
        return Unknown(min(1, len(names) - 1), "there is no such field", tuple(TYPES))

    def get(datum, _now_ms):
        found = datum.get(names[1])
        return ABSENT if found is None else found

    symbols = ("open", "paid") if names[1] == "state" else ()
    return Variable(".".join(names), TYPES[names[1]], get, get, symbols=symbols)


def holds(text, **datum):
    made = expressions.condition(text, scope)
    assert not isinstance(made[0], Flaw), made
    return made[0](datum, NOW)


def flaws(text):
    made = expressions.condition(text, scope)
    assert isinstance(made[0], Flaw), made
    return made


def value(text, **datum):
    made = expressions.template(text, scope)
    assert isinstance(made, Expression), made
    return made.get(datum, NOW)


@pytest.mark.parametrize(
    ("text", "datum", "answer"),
    [
        ("event.total >= 20.0", {"total": 21.0}, True),
        ("event.total >= 20.0", {"total": 19.0}, False),
        ("event.total >= 20.0", {}, None),
        ("event.total >= 20.0 && event.count > 1", {"total": 21.0, "count": 2}, True),
        ("has(event.total)", {"total": 0.0}, True),
        ("has(event.total)", {}, False),
        ("has( event . total ) && event.total > 1.0", {}, False),
        ("!has(event.total) || event.total > 1.0", {}, True),
        ("event.total > 1.0 || event.count > 0", {"count": 1}, True),
        ("event.any > 3", {"any": "text"}, None),
        ("event.any > 3", {"any": 4.5}, True),
        ("event.any", {"any": True}, True),
        ("event.any", {"any": 1}, None),
        ("event.any", {"any": "true"}, None),
        ("event.count / 0 == 1", {"count": 1}, None),
        ("event.count + 9223372036854775807 > 0", {"count": 1}, None),
        ("event.count > 0", {"count": 2**80}, None),
        ("event.state == 'paid'", {"state": "paid"}, True),
        ("event.state in ['open', \"paid\"]", {"state": "paid"}, True),
        ("event.name.startsWith('A') && event.name.size() == 3", {"name": "Ann"}, True),
        ("event.name.lowerAscii() == 'ann'", {"name": "Ann"}, True),
        ("event.name == 'event.total' || false", {"name": "event.total"}, True),
        ("event.name.matches('(')", {"name": "x"}, None),
        ("event.name.size() == 1", {"name": "\ud800"}, None),
        ("'a' in event.tags", {"tags": ["a"]}, True),
        ("event.tags.exists(t, t == 'a')", {"tags": ["a"]}, True),
        ("event.lines.all(line, line.qty > 1)", {"lines": [{"qty": 2}, {"qty": 3}]}, True),
        ("event.lines.all(line, has(line.sku))", {"lines": [{"qty": 2}]}, False),
        ("event.lines[0].qty == 2", {"lines": [{"qty": 2}]}, True),
        ("event.lines[7].qty == 2", {"lines": [{"qty": 2}]}, None),
        ('event.ids["crm"] == "7"', {"ids": {"crm": "7"}}, True),
        ("event.at < now && now - event.at < days(1)", {"at": datetime(2026, 11, 23, 9, tzinfo=UTC)}, True),
        ("event.at.getFullYear() == 2026", {"at": datetime(2026, 11, 23, 9, tzinfo=UTC)}, True),
        ("event.total > 1.0 // a remark about event.nothing", {"total": 2.0}, True),
        ("event.total > 1.0\n  && event.gift", {"total": 2.0, "gift": True}, True),
        ("math.greatest(event.count, 3) == 3", {"count": 1}, True),
        ("true", {}, True),
    ],
)
def test_conditions(text, datum, answer):
    assert holds(text, **datum) is answer


@pytest.mark.parametrize(
    ("text", "offset", "says"),
    [
        ("event.totl > 2.0", 6, "did you mean total"),
        ("event.gift && has(event.totl)", 24, "did you mean total"),
        ("event.gift && foo(event.total)", 14, "`foo` is not known"),
        ("event.gift && evnt.total > 1.0", 14, "did you mean event.total"),
        ("event.total > 2", 12, "no matching overload"),
        ("has(event.total) && event.total > 2", 32, "no matching overload"),
        ("event.total > 2.0 &&", 20, "Syntax error"),
        ("event.gift &&\n event.total > 2", 27, "no matching overload"),
        ("event.state == 'payed'", 15, "did you mean paid"),
        ("'payed' != event.state", 0, "did you mean paid"),
        ("event.state in ['open', 'shut']", 24, 'is never "shut"'),
        ("event.total + 1.0", 0, "must be true or false, this is double"),
        ("event.tags.exists(event, event == 'a')", 18, "cannot name the variable of a macro"),
        ("", 0, "Syntax error"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, offset, says):
    found = flaws(text)
    assert any(flaw.offset == offset and says in f"{flaw.message} {flaw.hint}" for flaw in found), found


def test_all_that_is_wrong_is_said_at_once():
    assert [flaw.offset for flaw in flaws("event.totl > 1.0 && event.state == 'x' && has(event.cnt)")] == [6, 35, 52]


@pytest.mark.parametrize(
    ("text", "datum", "json"),
    [
        ("${event.total}", {"total": 2.5}, 2.5),
        ("${ event.total }", {"total": 2.5}, 2.5),
        ("${event.total}", {}, ABSENT),
        ("${event.total * 2.0}", {"total": 2.5}, 5.0),
        ("${event.total * 2.0}", {}, ABSENT),
        ("${event.count / 0}", {"count": 1}, None),
        ("${event.any.size()}", {"any": 7}, None),
        ("${has(event.total) ? event.total : 0.0}", {}, 0.0),
        ("You have ${event.count} things", {"count": 3}, "You have 3 things"),
        ("${event.name}:${event.gift}:${event.total}", {"name": "a", "gift": True, "total": 2.0}, "a:true:2.0"),
        ("a ${event.name} b", {}, ABSENT),
        ("a ${event.any} b", {"any": [1]}, None),
        ("$${event.name} is ${event.name}", {"name": "Ann"}, "${event.name} is Ann"),
        ("${{'a': event.count}['a']}", {"count": 3}, 3),
        ("${'}' + event.name}", {"name": "x"}, "}x"),
        ("${sha256(event.name)}", {"name": "abc"}, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("${epoch_ms(event.at)}", {"at": datetime(1970, 1, 1, 0, 0, 1, 5999, tzinfo=UTC)}, 1005),
        ("${minor_units(event.total, 2)}", {"total": 129.5}, 12950),
        ("${minor_units(event.total, 2)}", {"total": 1.005}, 100),
        ("${minor_units(event.name, 2)}", {"name": "9007199254740993.01"}, 900719925474099301),
        ("${minor_units(event.name, 2)}", {"name": "a secret"}, None),
        ("${event.at + days(1)}", {"at": datetime(2026, 11, 23, tzinfo=UTC)}, "2026-11-24T00:00:00.000Z"),
        ("${now - event.at}", {"at": datetime(2026, 11, 23, tzinfo=UTC)}, None),
        ("${event.tags.map(t, t + '!')}", {"tags": ["a"]}, ["a!"]),
        ("${event.tags[9]}", {"tags": ["a"]}, None),
        ("${bytes(event.name)}", {"name": "hi"}, "aGk="),
        ("${event.total / 0.0}", {"total": 1.0}, None),
        ("${null}", {}, ABSENT),
    ],
)
def test_values(text, datum, json):
    assert value(text, **datum) == json
    assert type(value(text, **datum)) is type(json)


@pytest.mark.parametrize(
    ("text", "literal"), [("plain", "plain"), ("", ""), ("$${x}", "${x}"), ("a $ b {c}", "a $ b {c}")]
)
def test_literals(text, literal):
    assert expressions.template(text, scope) == literal


@pytest.mark.parametrize(
    ("text", "offset"),
    [("a ${event.totl}", 10), ("a ${event.name", 2), ("a ${event.name} ${event.nme}", 24), ("x ${event.tags}", 4)],
)
def test_flaws_of_templates_count_from_the_templates_start(text, offset):
    made = expressions.template(text, scope)
    assert isinstance(made, tuple)
    assert made[0].offset == offset


def test_a_bare_path_needs_no_cel_and_says_so():
    made = expressions.expression("event.total", scope)
    assert isinstance(made, Expression)
    assert made.bare is not None
    assert made.bare.path == "event.total"
    computed = expressions.expression("event.total + 1.0", scope)
    assert isinstance(computed, Expression)
    assert computed.bare is None
    assert [each.path for each in computed.variables] == ["event.total"]


def test_an_error_never_passes_for_text():
    """CEL's binding returns an error's message, which quotes data, as the value."""
    assert value("${event.name + string(event.any)}", name="Ann", any={"secret": 1}) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_whatever_the_data_a_condition_answers(found):
    for test, _ in TESTS:
        assert test({"any": found}, NOW) in (True, False, None)


TESTS = [
    expressions.condition(text, scope)
    for text in ("event.any > 3", "event.any == 'x'", "event.any['a'] == 1", "size(event.any) > 0")
]


def test_expressions_of_one_form_share_their_program():
    def scope(names):
        return Variable(".".join(names), "double", lambda _d, _n: 21.0, lambda _d, _n: 21.0) if len(names) > 1 else None

    before = shared.compiled.cache_info().misses, shared._environment.cache_info().misses
    tests = [condition(f"event.a{index} >= 20.125 && event.b.c < 1e3", scope) for index in range(50)]
    assert all(test({}, 0) is True for test, _ in tests)
    assert [variables[0].path for _, variables in tests] == [f"event.a{index}" for index in range(50)]
    after = shared.compiled.cache_info().misses, shared._environment.cache_info().misses
    assert after[0] - before[0] == 1
    assert after[1] - before[1] <= 1


@pytest.mark.parametrize(
    ("text", "column"),
    [("has(event.a) && event.a + true > 1.0", 24), ("[1.0].all(event_0, event_0 > event.a + 'x')", 37)],
)
def test_a_flaw_of_a_shared_form_has_its_own_column(text, column):
    def scope(names):
        return Variable("event.a", "double", lambda _d, _n: 1.0, lambda _d, _n: 1.0) if names[0] == "event" else None

    [flaw] = condition(text, scope)
    assert flaw.offset == column
    assert "_hookline_" not in flaw.message


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.binary(max_size=3),
    st.sampled_from(["open", "paid", "", "OPEN", "é", "e\u0301"]), st.text(max_size=5),
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        'event.any == "open"', ' event . any=="open" ', '\tevent.any == ""', 'event.any == "é"',
        'event.any == "e\u0301"',
        'event.any == "open" && event.name == "open"', 'event.any == "open" && event.count > 1',
        'event.any == "open" && has(event.count)', 'event.any == "open" && event.count / 0 == 1',
        'event.any == "open" && event.any == "paid"', 'event.any == "open" && !(event.any == "open")',
        'event.any == "open" || event.count > 1', 'event.any == "open" ? event.count > 1 : true',
        '(event.any == "open")', '"open" == event.any', 'event.any == "op" + "en"', 'event.any == r"op\\en"',
        'event.any == "op\\u0065n"', 'event.any != "open"', 'event.any == """open"""', "event.any == 'open'",
        'event.any == "open" == true', 'event.any == "open" && event.tags.exists(t, t == "a")',
    ],
)  # fmt: skip
@given(found=ANYTHING, name=st.sampled_from([None, "open", "paid"]), count=st.sampled_from([None, 0, 2]))
def test_what_a_comparison_decides_is_what_cel_says(text, found, name, count):
    assume(not isinstance(found, str) or "\0" not in found)  # see below
    datum = {
        key: content for key, content in {"any": found, "name": name, "count": count}.items() if content is not None
    }
    by_cel = cel.condition(text, scope)
    made = expressions.condition(text, scope)
    if isinstance(by_cel[0], Flaw):
        assert made == by_cel
    else:
        assert [each.path for each in made[1]] == [each.path for each in by_cel[1]]
        assert made[0](datum, NOW) is by_cel[0](datum, NOW)


NUMBERS = (
    "20.0",
    "-0.0",
    "2.5e0",
    "20",
    "-3",
    "0",
    "9223372036854775807",
    "9007199254740993.0",
    "20u",
    "0x14",
    "1e999",
)
CONSTANTS = (
    *NUMBERS,
    '"open"',
    "'open'",
    '""',
    "true",
    "false",
    "null",
    '["open"]',
    "[20, 0]",
    "[20.0]",
    '["open", 20]',
)
PATHS = ("event.any", "event.total", "event.count", "event.name", "event.gift", "event.at", "event.tags")
COMPARISONS = st.builds(" ".join, st.tuples(
    st.sampled_from(PATHS), st.sampled_from(("==", "!=", "<", "<=", ">", ">=", "in")), st.sampled_from(CONSTANTS)
).flatmap(lambda each: st.sampled_from((each, each[::-1]))))  # fmt: skip
ATOMS = COMPARISONS | st.sampled_from(
    (*PATHS, *(f"has({path})" for path in PATHS), "event.count / 0 == 1", "size(event.tags) > 0", "event.any.x > 1")
)
CHAINS = st.recursive(
    ATOMS | ATOMS.map("!{}".format) | ATOMS.map("({})".format),
    lambda inner: st.builds("{} {} {}".format, inner, st.sampled_from(("&&", "&&", "&&", "||")), inner),
    max_leaves=3,
)
NEAR = st.sampled_from([
    20, 20.0, math.nextafter(20.0, 0), math.nextafter(20.0, 30), -3, 0, -0.0, math.nan, math.inf, -math.inf, 2.5, 2**53,
    2.0**53, 2**53 + 1, 2**63 - 1, 2**63, 2.0**63, -(2**63), -(2**63) - 1, 2**64, True, False, "open", "", "20", "true",
    b"open", [], ["open"], [20], {}, {"x": 2}, {"x": "open"}, datetime(2026, 1, 1, tzinfo=UTC), timedelta(1),
])  # fmt: skip


@given(text=CHAINS, data=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(TYPES, NEAR)), max_size=10))
@settings(max_examples=300)
def test_whatever_is_decided_without_cel_is_what_cel_says(text, data):
    by_cel, made = cel.condition(text, scope), expressions.condition(text, scope)
    if isinstance(by_cel[0], Flaw):
        assert made == by_cel
        return
    for datum in data:
        assert made[0](datum, NOW) is by_cel[0](datum, NOW), datum


def test_a_text_is_compared_to_its_end_though_cels_binding_ends_it_at_a_nul():
    assert cel.condition('event.name == "open"', scope)[0]({"name": "open\0x"}, NOW) is True
    assert holds('event.name == "open"', name="open\0x") is False


@pytest.mark.parametrize(
    ("text", "datum", "asked"),
    [
        ('event.name == "open"', {"name": "open"}, False),
        ('event.name == "open"', {"name": "paid"}, False),
        ('event.name == "open"', {}, True),
        ('event.any == "open"', {"any": 1}, True),
        ('event.name == "open" && event.count > 1', {"name": "paid"}, False),
        ('event.name == "open" && event.count > 1', {"name": "open", "count": 2}, False),
        ('event.name == "open" && event.count > 1', {"name": "open"}, True),
        ('event.count > 1 && event.name == "open"', {"name": "paid"}, False),
        ('size(event.tags) > 0 && event.name == "open"', {"name": "paid"}, False),
        ('size(event.tags) > 0 && event.name == "open"', {"name": "open", "tags": []}, True),
        ("event.total >= 20.0", {"total": 20.0}, False),
        ("event.total >= 20.0", {"total": 20}, True),
        ("event.count > 1", {"count": 2**63}, True),
        ("event.count > 1 && has(event.name)", {"count": 2**63, "name": "open"}, True),
        ("event.any > 1", {"any": True}, True),
        ("event.gift && has(event.name)", {"gift": True}, False),
        ("event.gift", {"gift": 1}, True),
    ],
)
def test_cel_is_asked_only_where_a_comparison_does_not_decide(text, datum, asked, monkeypatch):
    of_cel, calls = cel.condition, []

    def counted(text, scope):
        test, variables = of_cel(text, scope)
        return lambda *each: calls.append(each) or test(*each), variables

    monkeypatch.setattr(cel, "condition", counted)
    holds(text, **datum)
    assert bool(calls) == asked
