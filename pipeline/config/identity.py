"""What `identity:` may say, and how it changes what paths to identifiers read: one policy for all destinations."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations at run time
from dataclasses import replace
from functools import cache
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from pipeline.config.section import FieldPath, Section, Shown, refuse
from pipeline.core import identity
from pipeline.core.expressions import Unknown, Variable

AS_IS: Final = "as_is"
REGION_PATTERN: Final = "^[A-Z]{2}$"


def _region(given: object) -> object:
    if not isinstance(given, str) or re.fullmatch(REGION_PATTERN, given, re.ASCII) is None:
        refuse("must be a country code of two capital letters", "such as DE")
    if given not in identity.regions():
        refuse("is no country with a numbering plan", "ISO 3166-1, such as DE or GB")
    return given


Region = Annotated[
    str, BeforeValidator(_region), WithJsonSchema({"type": "string", "pattern": REGION_PATTERN}), Shown("country code")
]


class Phone(Section):
    """How telephone numbers are read."""

    default_region: Region | None = Field(
        None, description="Country of numbers that name none, such as `DE`. Without it they are no identifiers."
    )


class PhonePolicy(Phone):
    """How telephone numbers are read and written."""

    form: Literal["e164", "as_is"] = Field("e164", description="`as_is`: as the event has them, unchecked.")


class Identity(Section):
    """How identifiers are written, whatever destination they are sent to."""

    email: Literal["normalise", "as_is"] = Field(
        "normalise", description="`event.customer.email`: trimmed, lower case, domain in ASCII; `as_is`: unchecked."
    )
    phone: PhonePolicy = Field(PhonePolicy.model_validate({}), description="`event.customer.phone`.")
    fields: Mapping[FieldPath, Literal["email", "phone"]] = Field(
        default={}, description="What other fields of the event hold, such as `properties.recipient: email`."
    )


class EntryIdentity(Section):
    """What is different about the identifiers of one entry's records."""

    phone: Phone = Field(Phone.model_validate({}), description="Telephone numbers of this source.")


class Identifiers:
    """Knows which paths of one entry's event are identifiers, and gives them their one form."""

    def __init__(self, policy: Identity, entry: EntryIdentity) -> None:
        self._kinds = {"customer.email": "email", "customer.phone": "phone", **policy.fields}
        self._policy = policy
        self._region = entry.phone.default_region or policy.phone.default_region

    def read(self, names: tuple[str, ...], found: Variable | Unknown) -> Variable | Unknown:
        """Return what a path of the event stands for, given the field as it is: an identifier in its form."""
        kind = self._kinds.get(".".join(names[1:]))
        if kind is None or isinstance(found, Unknown):
            return found
        if (self._policy.email if kind == "email" else self._policy.phone.form) == AS_IS:
            return found
        if found.cel not in ("string", "dyn"):
            return Unknown(len(names) - 1, f"an identifier must be text, this is {found.cel}")
        if kind == "email":
            get_json, get_cel = identity.getters(found.get_json, _email(), identity.plain_email)
        else:
            get_json, get_cel = identity.getters(found.get_json, _phone(self._region))
        return replace(found, get_cel=get_cel, get_json=get_json, refuses=True, leaf=True, parts=False, get_sent=None)


_email = cache(identity.email)
_phone = cache(identity.phone)
