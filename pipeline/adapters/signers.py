"""Finds signers that are installed beside Hookline: entry points of the group `hookline.signers`.

Each names a function that is given the options of `sign: {plugin: {name: …}}` (texts, references resolved) and returns
a `pipeline.ports.Signer`. It is called at start, and again whenever a file behind an option changed; it must not block,
and may raise ValueError for options it cannot use.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, cast

from pipeline.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.ports import Signer

GROUP: Final = "hookline.signers"


def load(name: str, options: Mapping[str, str], destination: str) -> Signer:
    """Make the signer `name`. Raises ConfigError, which tells nothing of what the signer itself said."""
    found = entry_points(group=GROUP, name=name)
    if not found:
        known = ", ".join(sorted({each.name for each in entry_points(group=GROUP)})) or "none"
        raise _error(destination, f"no signer of that name is installed (entry points of {GROUP}: {known})")
    try:
        made = next(iter(found)).load()(dict(options))
    except Exception as error:  # noqa: BLE001 - somebody else's code; its message may quote an option
        raise _error(destination, f"the signer cannot be made: {type(error).__name__}") from None
    if not callable(getattr(made, "sign", None)):
        raise _error(destination, "the signer has no `sign`")
    return cast("Signer", made)


def _error(destination: str, message: str) -> ConfigError:
    return ConfigError((Problem(f"destinations/{destination}.yaml", 0, 0, "sign.plugin", message),))
