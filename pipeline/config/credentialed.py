"""Decides which names say that their value lets somebody in, and which values beside such a name do not.

A key or a password may look like anything, so it is known by its name: `api_key`, `X-Auth-Token`. Names are cut into
words at punctuation and capitals, so that `idempotency-key`, `tokens_used` and `author` are none.
"""

from __future__ import annotations

import re
from typing import Final

from pipeline.core import expressions

_NAME_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_WORDS: Final = frozenset(
    ("password", "passwd", "pwd", "passphrase", "secret", "credential", "credentials", "apikey", "accesskey",
     "authkey", "secretkey", "authorization", "accesstoken", "authtoken", "clientsecret")
)  # fmt: skip
_SOFT_WORDS: Final = frozenset(("auth", "token", "jwt", "bearer"))
"""Words that may as well be about a credential (`token_type`) or mean something else in a payload."""
_KEYS: Final = frozenset(
    ("api", "access", "auth", "private", "secret", "shared", "sign", "signing", "signature", "subscription", "function",
     "functions", "webhook", "encryption", "master", "admin", "license")
)  # fmt: skip
"""Words before `key`; other keys find something, and open nothing."""

_SAID_PLAINLY: Final = frozenset(("", "true", "false", "none", "null", "yes", "no"))
_PUBLIC_WORD: Final = r"(?:[A-Za-z]{1,15}[0-9]{0,3}|[0-9]{1,4})"
_PUBLIC_WORDS: Final = re.compile(rf"{_PUBLIC_WORD}(?:[-_./: +]+{_PUBLIC_WORD})*")
_SAID: Final = "is a credential by its name, and this file is for everyone to read"


def flaw(name: str, given: object, *, in_payload: bool = False) -> str:
    """Say that a literal beside a name must be a credential, or "" if it need not be. It is never quoted.

    Where the name ends in the word for it, a literal of any form is one, unless it says yes, no or nothing. Where the
    word stands elsewhere (`token_type: bearer`), where it has other meanings, and for `token` and the like in a
    payload, a literal of plain words is none.
    """
    text = _literal(given)
    if text is None or text.lower() in _SAID_PLAINLY:
        return ""
    words = [word.lower() for word in _NAME_WORD.findall(name)]
    while words and words[-1].isdecimal():  # `api_key_2`
        words.pop()
    last = bool(words) and (words[-1] in _WORDS or _is_key(words, len(words) - 1))
    soft_last = bool(words) and words[-1] in _SOFT_WORDS
    anywhere = any(
        word in _WORDS or word in _SOFT_WORDS or _is_key(words, index) for index, word in enumerate(words)
    )  # fmt: skip
    if last or (soft_last and not in_payload):
        return _SAID
    return _SAID if (anywhere or words == ["key"]) and not _PUBLIC_WORDS.fullmatch(text) else ""


def _is_key(words: list[str], index: int) -> bool:
    return words[index] == "key" and index > 0 and words[index - 1] in _KEYS


def _literal(given: object) -> str | None:
    """Return what of a value everyone reads: of a text with expressions the rest, None if there is none."""
    if isinstance(given, (bool, type(None))) or not isinstance(given, (str, int, float)):
        return None
    cut = expressions.pieces(str(given))
    if isinstance(cut, int):
        return None
    return "".join(piece.text for piece in cut if not piece.expression)
