"""One target under libFuzzer, in this process: `python -m tests.fuzz.one TARGET [its arguments]`. Never returns."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["pipeline"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Hand the rest of the arguments to libFuzzer."""
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
