# ruff: noqa: RUF001 - characters that look like others are what this is about
"""Identifiers have one form, which is its own form; what is none is a reason, and nothing ever raises."""

import hashlib
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType, example_number_for_type, format_number

from pipeline.core import identity
from pipeline.model import ABSENT

EMAIL, GERMAN, WORLD = identity.email(), identity.phone("DE"), identity.phone(None)
ADDRESSES = st.text(max_size=40) | st.emails() | st.emails().map(str.upper) | st.from_regex(
    r"[\w.+-]{1,8}[@＠][\w.-]{1,8}[.。](com|DE|example|test|рф|local|1)", fullmatch=True
)  # fmt: skip
NUMBERS = st.text(max_size=30) | st.from_regex(r"[+＋]?[\d ()/.-]{3,18}", fullmatch=True)


@pytest.mark.parametrize(
    ("given_", "form"),
    [
        ("ann@example.org", "ann@example.org"),
        (" Ann.Lee@Example.ORG\n", "ann.lee@example.org"),
        ("Ann.Lee+shop@example.org", "ann.lee+shop@example.org"),  # dots and plus are the mailbox's own
        ("\u200bann@example.org\ufeff\u00a0", "ann@example.org"),
        ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("ann@faß.de", "ann@xn--fa-hia.de"),  # IDNA 2008; 2003 made it fass.de, which is somebody else's
        ("ＡＮＮ＠ｅxample.org", "ann@example.org"),
        ("ann@example。org", "ann@example.org"),
        ("\u0130@example.org", "i\u0307@example.org"),  # İ, in lower case two characters, in every language
        ("\u212aim@example.org", "kim@example.org"),  # the Kelvin sign is a k
        ("jose\u0301@example.org", "jos\u00e9@example.org"),
        ("ann@shop.test", "ann@shop.test"),
    ],
)
def test_addresses(given_, form):
    assert EMAIL(given_) == form


@pytest.mark.parametrize(
    "given_",
    [
        "", " ", "@", "ann", "ann@", "@example.org", "ann@example", "a..b@example.org", "ann @example.org",
        "ann@exam\u200bple.org", "an\u00adn@example.org", "ann@example.org, bob@example.org", "a@b@example.org",
        "Ann <ann@example.org>", "mailto:ann@example.org", '"a b"@example.org', "ann@[192.0.2.1]", "ann@192.0.2.1",
        "ann@localhost", "ann@mail.local", "ann@-example.org", "a" * 65 + "@example.org", "x" * 2_000 + "@a.example",
        "\x00ann@example.org"[::-1], hashlib.sha256(b"ann@example.org").hexdigest(), "\ud800@example.org",
    ],
)  # fmt: skip
def test_what_is_no_address(given_):
    assert EMAIL(given_) is None


@given(ADDRESSES)
@example("İ" * 32 + "@example.org")
@example("a@" + "ß" * 60 + ".de")
def test_an_address_is_its_own_form(text):
    form = EMAIL(text)
    if form is not None:
        assert EMAIL(form) == form
        assert form == form.strip().lower()
        assert form.rpartition("@")[2].isascii()


LOCAL, DOMAIN = r"[a-z0-9_+-]{1,9}(\.[a-z0-9_+-]{1,60}){0,2}", r"([a-z0-9]{1,9}(-[a-z0-9]{1,60})?\.){1,3}"


@given(st.from_regex(f"{LOCAL}@{DOMAIN}(ai|com|de|example|local|net|onion|test|ru)", fullmatch=True))
def test_what_is_taken_for_plain_is_what_the_library_makes_of_it(text):
    if identity.plain_email(text):
        assert EMAIL.__wrapped__(text) == text


@pytest.mark.parametrize(
    ("given_", "german", "world"),
    [
        ("0171 3920012", "+491713920012", None),
        ("0171/392-00 12", "+491713920012", None),
        ("+49 (0)171 3920012", "+491713920012", "+491713920012"),
        ("0049 171 3920012", "+491713920012", None),  # 00 is how one dials abroad from there
        ("\u202a+49 171 3920012\u202c", "+491713920012", "+491713920012"),  # as a phone's contacts are copied
        ("０１７１３９２００１２", "+491713920012", None),
        ("＋４９１７１３９２００１２", "+491713920012", "+491713920012"),
        ("٠١٧١٣٩٢٠٠١٢", "+491713920012", None),
        ("+49 171\u00a0392\u20110012", "+491713920012", "+491713920012"),
        ("+44 7700 900123", "+447700900123", "+447700900123"),  # reserved for films and tests: in no numbering plan
        ("+39 02 1234 5678", "+390212345678", "+390212345678"),  # Italy's zero is part of the number
        ("+683 4321", "+6834321", "+6834321"),  # four digits are all there are on Niue
        ("+1 202-555-0143", "+12025550143", "+12025550143"),
    ],
)
def test_numbers(given_, german, world):
    assert (GERMAN(given_), WORLD(given_)) == (german, world)


@pytest.mark.parametrize(
    "given_",
    [
        "", "+", "0", "112", "12345", "+49 12", "+1 555 0100", "+999 1234567", "+49171392001212345678", "not a number",
        "call 0171 3920012", "0171 3920012 ext 5", "0171 3920012;ext=5", "tel:+491713920012", "+1 800 FLOWERS",
        "0171 3920012, 0171 3920013", "0171\n3920012", "ann@example.org", "1" * 2_000,
        hashlib.sha256(b"+491713920012").hexdigest(),
    ],
)  # fmt: skip
def test_what_is_no_number(given_):
    assert GERMAN(given_) is None


@given(NUMBERS)
def test_a_number_is_its_own_form_wherever_it_is_dialled(text):
    form = GERMAN(text)
    if form is not None:
        assert form[0] == "+"
        assert form[1:].isascii()
        assert form[1:].isdigit()
        assert len(form) <= 16
        assert GERMAN(form) == WORLD(form) == form


def test_every_country_has_numbers():
    regions = identity.regions()
    assert {"DE", "GB", "US"} <= regions
    for region in regions:
        for kind in PhoneNumberType.values():
            number = example_number_for_type(region, kind)
            if number is not None:
                dialled = format_number(number, PhoneNumberFormat.NATIONAL)
                form = format_number(number, PhoneNumberFormat.E164)
                assert WORLD(form) == form, (region, kind)
                assert identity.phone(region)(dialled) in (form, None), (region, kind)


def test_a_field_is_read_in_its_form_and_what_is_none_says_so():
    def get(datum, _now_ms):
        return datum

    get_json, get_cel = identity.getters(get, EMAIL, identity.plain_email)
    assert (get_json("Ann@Example.org", 0), get_cel("Ann@Example.org", 0)) == ("ann@example.org",) * 2
    assert (get_json("ann@example.org", 0), get_cel("ann@example.org", 0)) == ("ann@example.org",) * 2
    assert (get_json(ABSENT, 0), get_cel(ABSENT, 0)) == (ABSENT, ABSENT)
    for none in ("ann", "", 7, {"a": 1}):
        assert (get_json(none, 0), get_cel(none, 0)) == (identity.INVALID, ABSENT)


def test_numbering_plans_and_the_address_library_are_imported_for_those_who_need_them():
    code = (
        "import sys; import pipeline.config.load; from pipeline.core import identity;"
        "assert not {'phonenumbers', 'email_validator'} & sys.modules.keys(), 'at start';"
        "identity.email(); assert 'phonenumbers' not in sys.modules; assert 'dns' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
