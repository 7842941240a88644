# ruff: noqa: RUF001 - characters that look like others are what this is about
"""core/identity as a worker lives with it: one form for good, whatever was read before, and whatever was forgotten.

The normalisers here are those of a worker: each remembers forms, of all sources together. The model has none: it asks
one that was made a moment ago and remembers nothing, and keeps every link from a text to its form that it ever saw.
"""

from __future__ import annotations

import unicodedata

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pipeline.core import identity
from pipeline.model import ABSENT

KINDS = {
    "email": identity.email, "DE": lambda: identity.phone("DE"), "GB": lambda: identity.phone("GB"),
    "anywhere": lambda: identity.phone(None),
}  # fmt: skip
PLAIN = {"email": identity.plain_email, "DE": None, "GB": None, "anywhere": None}
KNOWN = {
    "ann@example.org": {"email": "ann@example.org", "DE": None},
    "Ann.Lee+shop@Example.ORG": {"email": "ann.lee+shop@example.org"},
    "ann@BÜCHER.example": {"email": "ann@xn--bcher-kva.example"},
    "0171 3920012": {"email": None, "DE": "+491713920012", "anywhere": None},
    "+49 (0)171 3920012": dict.fromkeys(("DE", "GB", "anywhere"), "+491713920012"),
    "020 7946 0958": {"GB": "+442079460958", "anywhere": None},
    "0063540174120": {"anywhere": None}, "+49000014008": dict.fromkeys(("DE", "GB", "anywhere"), None),
}  # fmt: skip
"""What each is to some, whoever asks, and when."""
TEXTS = st.one_of(
    st.sampled_from(sorted(KNOWN)),
    st.sampled_from([
        "ann@xn--bcher-kva.example", "ann", "", "@", "\u0130@example.org", "0", "+", "12345", "1" * 1_001,
        "00063540174120", "0008907579", "+44 20 7946 0958", "a" * 1_001 + "@example.org",
    ]),
    st.emails(), st.text(max_size=20), st.from_regex(r"[+＋]?[\d ()/.-]{3,18}", fullmatch=True),
)  # fmt: skip
DISGUISES = {
    "upper": str.upper,
    "wide": lambda text: "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text),
    "spaced": lambda text: f"\u00a0\t{text}\u200b\r\n",
    "lower": str.lower,
    "same": lambda text: text[:1] + text[1:],  # equal, and another object
}
"""What a keyboard, a form or a copy makes of an identifier; each leaves what it is of one that is in its form."""


class Worker(RuleBasedStateMachine):
    """`seen` are texts that were read before, by whatever normaliser."""

    seen = Bundle("seen")

    @initialize()
    def start(self) -> None:
        self.made = {kind: make() for kind, make in KINDS.items()}
        self.links: dict[tuple[str, str], str | None] = {}
        self.others = 0

    @rule(target=seen, text=TEXTS)
    def meet(self, text) -> str:
        return text

    @rule(target=seen, text=seen, disguise=st.sampled_from(sorted(DISGUISES)))
    def meet_again_in_disguise(self, text, disguise) -> str:
        return DISGUISES[disguise](text)

    @rule(text=seen, kinds=st.permutations(sorted(KINDS)))
    def read(self, text, kinds) -> None:
        for kind in kinds:
            form = self.made[kind](text)
            assert form == KINDS[kind]().__wrapped__(text), "what was read before decides"
            assert self.links.setdefault((kind, text), form) == form, "a link changed"

    @rule(texts=st.permutations(sorted(KNOWN)), kinds=st.permutations(sorted(KINDS)))
    def read_what_is_known(self, texts, kinds) -> None:
        for text in texts:
            for kind in kinds:
                assert self.made[kind](text) == KNOWN[text].get(kind, self.made[kind](text)), "not what it was"

    @rule(target=seen, text=seen, kind=st.sampled_from(sorted(KINDS)))
    def read_its_form(self, text, kind) -> str:
        form = self.made[kind](text)
        if form is None:
            return text
        assert self.made[kind](form) == form
        assert len(form) <= identity.TEXT_CHARS_MAX
        if kind != "email":  # a number in its form is the same one wherever it is dialled
            assert {self.made[each](form) for each in ("DE", "GB", "anywhere")} == {form}
        return form

    @rule(text=seen, disguise=st.sampled_from(sorted(DISGUISES)))
    def a_form_in_disguise_is_the_same_identifier(self, text, disguise) -> None:
        for normalise in self.made.values():
            form = normalise(text)
            if form is not None and form.isascii():
                assert normalise(DISGUISES[disguise](form)) == form

    @rule(text=seen, plain=st.booleans())
    def read_a_field(self, text, plain) -> None:
        """As an event's field is read, in JSON and by CEL, with the quick look and without."""
        for kind, normalise in self.made.items():
            look = PLAIN[kind] if plain else None
            get_json, get_cel = identity.getters(lambda datum, _now_ms: datum, normalise, look)
            form = self.links.setdefault((kind, text), KINDS[kind]().__wrapped__(text))
            assert get_json(text, 0) == (identity.INVALID if form is None else form)
            assert get_cel(text, 0) == (ABSENT if form is None else form)
            assert get_json(ABSENT, 0) is get_cel(ABSENT, 0) is ABSENT

    @rule(kind=st.sampled_from(sorted(KINDS)))
    def forget(self, kind) -> None:
        """Read so many others that nothing from before is remembered."""
        for _ in range(identity.REMEMBERED):
            self.others += 1
            self.made[kind](f"?{self.others}")
        assert self.made[kind].cache_info().currsize <= identity.REMEMBERED

    @rule(text=consumes(seen))
    def never_again(self, text) -> None:
        self.made = {kind: make() for kind, make in KINDS.items()}  # the worker starts anew
        for (kind, known), form in self.links.items():
            if known == text:
                assert self.made[kind](text) == form

    @invariant()
    def nothing_is_remembered_without_end(self) -> None:
        if hasattr(self, "made"):
            assert all(each.cache_info().maxsize == identity.REMEMBERED for each in self.made.values())


def test_an_identifier_has_one_form_whatever_was_read_before() -> None:
    run_state_machine_as_test(Worker, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


def test_the_disguises_are_some() -> None:
    wide = DISGUISES["wide"]("ann@example.org")
    assert unicodedata.normalize("NFKC", wide) == "ann@example.org" != wide
