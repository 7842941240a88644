"""Decides how an identifier is written: one form for all destinations, or that it is none.

Two systems that are sent the same customer must be sent the same text, and the same hash of it. Sources: RFC 5321 and
RFC 6531 (addresses), UTS #46 (domains) by email-validator; ITU-T E.164 by Google's libphonenumber.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.model import ABSENT, Datum, FailureClass, Getter, Refused

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

TEXT_CHARS_MAX: Final = 1_000
"""Longer texts are no identifiers: they are not looked at."""

NATIONAL_DIGITS_MIN: Final = 7
"""Digits after the country's from which a telephone number's length is enough to take it for one."""

FORM_CHARS_MAX: Final = 16
"""A plus sign and the fifteen digits of E.164."""

REMEMBERED: Final = 1_024
"""Identifiers of each kind whose form is remembered: the steps of one event, and its retries, read the same one."""

Normalise: TypeAlias = Callable[[str], str | None]
"""Text to the one form of the identifier it holds, or None. Never raises; its result is its own form."""

INVALID: Final = Refused(FailureClass.INVALID_IDENTIFIER, "")
"""What an identifier that is none is read as. Who sends it puts in its own name of it."""

# Most addresses are in their form already. What this lets pass, email-validator leaves as it is: a test holds them
# against each other.
_PLAIN: Final = re.compile(
    r"(?=[^@]{1,64}@.{4,63}\Z)"
    r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+(?:[a-z]{2}|com|example|info|net|org)"
)
plain_email: Final = _PLAIN.fullmatch
"""Whether a text is plainly an address in its form: true of most, so that `getters` need not call anything."""

_DIALLED: Final = frozenset({"Nd", "Zs", "Pd", "Cf"})
_PUNCTUATION: Final = frozenset("+()./~\u2044\u2212")  # with the fraction slash and the minus sign


def email() -> Normalise:
    """Return what writes an e-mail address trimmed, in lower case, its domain as ASCII (IDNA 2008, UTS #46).

    Dots and what follows a plus stay: only the provider knows whether they mean the same mailbox. Full-width letters
    become plain ones (RFC 8265, section 3.3.2). White space and invisible characters are dropped from both ends; inside
    they make it no address, as do a name beside it, a quoted part before the @, an IP address after it, and a domain
    that no mail can go to (`local`, `invalid`). Whether the domain exists is not asked.
    """
    from email_validator import validate_email  # noqa: PLC0415 - not for configurations that send no address

    @lru_cache(maxsize=REMEMBERED)
    def normalise(text: str) -> str | None:
        if len(text) > TEXT_CHARS_MAX:
            return None
        plain = _trimmed(_plain_width(text))
        try:
            found = validate_email(plain.lower(), check_deliverability=False, strict=True, test_environment=True)
        except ValueError:  # also what its idna raises; the messages quote the address
            return None
        return f"{found.local_part}@{found.ascii_domain}"

    return normalise


def _plain_width(text: str) -> str:
    """Return text with full-width and half-width characters as the ordinary ones."""
    if text.isascii():
        return text
    return "".join(
        unicodedata.normalize("NFKC", each) if unicodedata.east_asian_width(each) in ("F", "H") else each
        for each in text
    )


def _trimmed(text: str) -> str:
    """Return text without the white space, control and format characters at its ends, as copying leaves them there."""
    start, end = 0, len(text)
    while start < end and _invisible(text[start]):
        start += 1
    while start < end and _invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def _invisible(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf")


def regions() -> frozenset[str]:
    """Return the countries that have a numbering plan, by their ISO 3166-1 code."""
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415 - see `phone`

    return frozenset(SUPPORTED_REGIONS)


def phone(region: str | None) -> Normalise:
    """Return what writes telephone numbers as E.164, `+491713920012`.

    `region` (ISO 3166, DE) is where a number without a country is dialled; without one such a number is none. Digits of
    any script, spaces and the punctuation of numbers are read; letters are not, nor is an extension, which E.164 cannot
    say. A number is one if the numbering plan knows its range. So is what has the right length for its country, from
    seven digits on: ranges are opened faster than lists of them are read, and those reserved for tests are in none.
    """
    # Not for configurations that send no number: a megabyte of numbering plans.
    from phonenumbers import (  # noqa: PLC0415
        NumberParseException,
        PhoneNumberFormat,
        ValidationResult,
        format_number,
        is_possible_number_with_reason,
        is_valid_number,
        national_significant_number,
        parse,
    )

    def as_sent(number: PhoneNumber) -> str | None:
        form = str(format_number(number, PhoneNumberFormat.E164))
        if len(form) > FORM_CHARS_MAX:
            return None
        if is_valid_number(number):
            return form
        length = is_possible_number_with_reason(number)
        if length != ValidationResult.IS_POSSIBLE or len(national_significant_number(number)) < NATIONAL_DIGITS_MIN:
            return None
        # With zeros in front it would be another number to who reads it next.
        return form if parse(form) == number else None

    @lru_cache(maxsize=REMEMBERED)
    def normalise(text: str) -> str | None:
        if len(text) > TEXT_CHARS_MAX:
            return None
        plain = _plain_width(text).strip()
        if not all(map(_dialled, plain)):
            return None
        try:
            number = parse("".join(each for each in plain if not _invisible(each)), region)
        except NumberParseException:
            return None
        return as_sent(number)

    return normalise


def _dialled(character: str) -> bool:
    return character in _PUNCTUATION or unicodedata.category(character) in _DIALLED


def getters(get: Getter, normalise: Normalise, plain: Callable[[str], object] | None = None) -> tuple[Getter, Getter]:
    """Return how an identifier's field is read, given its getter: as JSON, and by CEL.

    `plain` is a quick look, in C, that is true only for texts in their form. What is none is INVALID as JSON, so that
    the delivery that sends it says why it is dead, and ABSENT to CEL.
    """

    def get_json(datum: Datum, now_ms: int) -> object:
        found = get(datum, now_ms)
        if type(found) is str:
            if plain is not None and plain(found):
                return found
            normal = normalise(found)
            return INVALID if normal is None else normal
        return found if found is ABSENT else INVALID

    def get_cel(datum: Datum, now_ms: int) -> object:
        found = get_json(datum, now_ms)
        return ABSENT if found is INVALID else found

    return get_json, get_cel
