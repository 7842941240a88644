"""What records of the consent and suppression topics say: keys, merging, tombstones, and bytes others can write too."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro import schema as avro
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import decode, tables
from pipeline.core.tables import CONSENT, SUPPRESSION
from pipeline.model import NOTHING, ConsentSaid, Known, Suppress, Undecodable, Unsuppress

SCHEMAS = [
    json.loads((Path(__file__).parents[3] / "schemas" / f"{name}.avsc").read_text())
    for name in ("consent", "suppression")
]
READ = [decode.reader(schema) for schema in SCHEMAS]
NOW_MS = 1_700_000_000_000


def with_fastavro(table: int, datum: dict[str, Any]) -> bytes:
    """The bytes another system writes, from the shipped file alone."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMAS[table]), datum)
    return decode.single_object(decode.fingerprint(SCHEMAS[table])) + out.getvalue()


def entry(table: int, name: bytes, content: bytes) -> tuple[int, bytes, bytes]:
    found = decode.locate(content, ())
    assert not isinstance(found, Undecodable)
    datum = READ[table](content, found[1])
    assert not isinstance(datum, Undecodable), datum
    return table, name, tables.kept(table, datum)


def consent(name: bytes = b"", **flags: tuple[str, int]) -> tuple[int, bytes, bytes]:
    said = {flag.replace("__", "."): {"state": state, "at": at} for flag, (state, at) in flags.items()}
    return entry(CONSENT, name, with_fastavro(CONSENT, {"said": said}))


@pytest.mark.parametrize("table", [CONSENT, SUPPRESSION])
def test_the_documented_schemas_are_the_ones_written(table: int) -> None:
    assert avro.to_parsing_canonical_form(SCHEMAS[table]) == avro.to_parsing_canonical_form(tables.SCHEMAS[table])
    assert tables.fingerprint(table) == decode.fingerprint(SCHEMAS[table])
    assert f"{SCHEMAS[table]['namespace']}.{SCHEMAS[table]['name']}" == tables.RECORDS[table]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (b"c-1", (b"c-1", b"")),
        (b"c-1\0email", (b"c-1", b"email")),
        (b"c-1\0a\0b", (b"c-1", b"a\0b")),
        (b"c-1\0\xff", (b"c-1", b"\xff")),
        (b"", None),
        (b"\0email", None),
        (None, None),
    ],
)
def test_a_key_names_customer_and_entry(key: bytes | None, found: tuple[bytes, bytes] | None) -> None:
    assert tables.split(key) == found


def test_of_several_words_on_one_flag_the_newest_counts_and_of_equally_new_ones_the_denial() -> None:
    older, newer = consent(b"a", email=("granted", 5)), consent(b"b", email=("denied", 6), sms=("granted", 1))
    assert tables.known([older, newer], 7).consent == {
        "email": ConsentSaid("email", False, 6), "sms": ConsentSaid("sms", True, 1),
    }  # fmt: skip
    same = consent(b"c", sms=("denied", 1))
    for entries in ([newer, same], [same, newer]):
        assert not tables.known(entries, 0).consent["sms"].granted


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 3)), max_size=6), st.randoms())
def test_the_order_of_entries_does_not_matter(words: list[tuple[str, bool, int]], chance: Any) -> None:
    entries = [
        consent(b"%d" % number, **{flag: ("granted" if granted else "denied", at)})
        for number, (flag, granted, at) in enumerate(words)
    ]
    shuffled = list(entries)
    chance.shuffle(shuffled)
    assert tables.known(entries, 0) == tables.known(shuffled, 0)


def test_what_is_unreadable_says_so_and_hides_nothing_else() -> None:
    known = tables.known([(CONSENT, b"x", tables.UNREADABLE), consent(b"a", email=("denied", 6))], 3)
    assert (known.unreadable, known.stale_ms, known.consent["email"].granted) == (True, 3, False)


def test_an_entry_taken_away_is_a_denial_as_of_then() -> None:
    before = consent(b"crm", email=("granted", 5), sms=("denied", 4))[2]
    assert tables.known([(CONSENT, b"crm", tables.gone(b"crm", before, 9) or b"")], 0).consent == {
        flag: ConsentSaid(flag, False, 9) for flag in ("crm", "email", "sms")
    }
    assert tables.known([(CONSENT, b"", tables.gone(b"", before, 9) or b"")], 0).consent == {
        flag: ConsentSaid(flag, False, 9) for flag in ("email", "sms")
    }
    assert tables.known([(CONSENT, b"", tables.gone(b"hookline:email", None, 9) or b"")], 0).consent == {
        "email": ConsentSaid("email", False, 9)
    }
    assert tables.gone(b"", None, 9) is None


def test_an_entry_that_was_unreadable_can_be_taken_away() -> None:
    assert tables.gone(b"", tables.UNREADABLE, 9) is None
    assert b"email" in (tables.gone(b"email", tables.UNREADABLE, 9) or b"")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
reasons = st.builds(
    Suppress, id=texts.filter(lambda each: each and not each.startswith("hookline:")),
    scope=st.sampled_from(["category", "channel", "journey"]), of=texts, until_event=texts, match=texts,
    until_ms=st.integers(0, 2**62), at_ms=st.integers(0, 2**62),
)  # fmt: skip


@given(reasons)
def test_a_suppression_is_read_as_it_was_marked(mark: Suppress) -> None:
    record = tables.written("c-1", mark, NOW_MS)
    assert record is not None
    table, key, content = record
    assert content is not None
    assert tables.split(key) == (b"c-1", mark.id.encode())
    (found,) = tables.known([entry(table, mark.id.encode(), content)], 0).suppressions
    assert found == Suppress(*(getattr(mark, name) for name in Suppress.__slots__[:-1]), mark.at_ms or NOW_MS)  # type: ignore[attr-defined]


@given(texts.filter(bool), st.booleans(), st.integers(0, 2**62))
def test_consent_is_read_as_it_was_marked(flag: str, granted: bool, at_ms: int) -> None:  # noqa: FBT001
    mark = ConsentSaid(flag, granted, at_ms)
    table, key, content = tables.written("c-1", mark, NOW_MS) or (0, b"", None)
    assert content is not None
    assert tables.split(key) == (b"c-1", b"hookline:" + flag.encode())
    assert tables.known([entry(table, b"", content)], 0).consent == {flag: mark}


def test_what_we_write_is_what_fastavro_writes() -> None:
    assert tables.encode(CONSENT, {"said": {"email": {"state": "granted", "at": 5}}}) == with_fastavro(
        CONSENT, {"said": {"email": {"state": "granted", "at": 5}}}
    )
    assert tables.erasure("c-1", 5) == (
        SUPPRESSION,
        b"c-1\0hookline:erased",
        with_fastavro(SUPPRESSION, {"scope": "erased", "at": 5}),
    )


def test_the_bytes_of_a_record_stay_what_the_reference_says() -> None:
    table, key, content = tables.written("c-1", ConsentSaid("email", True, 1_700_000_000_000), NOW_MS) or (0, b"", b"")
    assert (table, key.hex(" ")) == (CONSENT, "63 2d 31 00 68 6f 6f 6b 6c 69 6e 65 3a 65 6d 61 69 6c")
    assert content is not None
    assert content.hex(" ").startswith("c3 01 " + tables.fingerprint(CONSENT).hex(" "))
    assert content[10:].hex(" ") == "02 0a 65 6d 61 69 6c 00 80 a0 ab fe f9 62 00"
    _, key, content = tables.erasure("c-1", 1_700_000_000_000)
    assert content[10:].hex(" ") == "06 00 80 a0 ab fe f9 62 00 00 00"


def test_an_erased_customer_is_erased_whatever_the_time() -> None:
    table, _, content = tables.erasure("c-1", 0)
    known = tables.known([entry(table, b"hookline:erased", content)], 0)
    assert known == Known({}, erased_ms=1)
    assert tables.known([], 0) == NOTHING


@pytest.mark.parametrize("customer_id", ["", "c\0x"])
def test_a_customer_that_no_key_can_name_is_refused(customer_id: str) -> None:
    assert tables.written(customer_id, Unsuppress("x"), NOW_MS) is None
    with pytest.raises(ValueError, match="NUL"):
        tables.erasure(customer_id, NOW_MS)


@pytest.mark.parametrize(
    "mark",
    [Unsuppress(""), Unsuppress("hookline:erased"), Suppress("hookline:x", "category", "a", "", "", 0),
     Suppress("x", "category", "\ud800", "", "", 0), Suppress("\ud800", "category", "x", "", "", 0)],
)  # fmt: skip
def test_a_mark_that_is_no_record_is_refused(mark: Suppress | Unsuppress) -> None:
    assert tables.written("c-1", mark, NOW_MS) is None


@pytest.mark.parametrize("table", [CONSENT, SUPPRESSION])
def test_a_state_or_scope_nobody_knows_is_unreadable_not_guessed(table: int) -> None:
    newer = json.loads(json.dumps(SCHEMAS[table]).replace('["granted", "denied"', '["assumed", "granted", "denied"')
                       .replace('["category"', '["everything", "category"'))  # fmt: skip
    datum = (
        {"said": {"email": {"state": "assumed", "at": 1}}},
        {"scope": "everything", "of": "", "at": 1, "until": None, "until_event": "", "match": ""},
    )[table]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(newer), datum)
    assert isinstance(decode.reader(newer, SCHEMAS[table])(out.getvalue(), 0), Undecodable)
