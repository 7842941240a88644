"""Performs the reading of `contracts/*.json`: each is compiled at once, so that flaws are found at start, with places.

JSON is read strictly: duplicate keys, NaN and what is no UTF-8 are refused, as in the YAML beside it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import yaml
from pipeline.config.places import Path, Places
from pipeline.core import contract
from pipeline.model import Problem

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

    from pipeline.core.contract import Contract

FOLDER: Final = "contracts"
FILE_BYTES_MAX: Final = 256 * 1024
FILES_MAX: Final = 2_000

Contracts = dict[str, "Contract | None"]
"""By path relative to the configuration folder, `contracts/NAME.json`; None is a file that has problems of its own."""


class _TwiceError(ValueError):
    pass


def read(root: pathlib.Path) -> tuple[Contracts, list[Problem]]:
    """Read and compile every contract of the folder at `root`. Blocks on the file system; raises nothing."""
    made: Contracts = {}
    problems: list[Problem] = []
    folder = root / FOLDER
    for path in sorted(folder.glob("*.json"))[:FILES_MAX] if folder.is_dir() else ():
        file = f"{FOLDER}/{path.name}"
        parsed = _parsed(file, path)
        if not isinstance(parsed, Problem):
            compiled = contract.compiled(parsed[0])
            if isinstance(compiled, contract.Contract):
                made[file] = compiled
                continue
            parsed = _placed(file, path, compiled)
        made[file] = None
        problems.append(parsed)
    return made, problems


def _parsed(file: str, path: pathlib.Path) -> tuple[Any] | Problem:  # noqa: PLR0911 - one for each kind of damage
    try:
        with path.open("rb") as source:
            raw = source.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            return Problem(file, 0, 0, "", f"the file is larger than {FILE_BYTES_MAX // 1024} KiB")
        return (json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_constant),)
    except OSError as error:
        return Problem(file, 0, 0, "", f"cannot be read: {error.strerror}")
    except json.JSONDecodeError as error:
        return Problem(file, error.lineno, error.colno, "", f"not JSON: {error.msg}", "a contract is a JSON Schema")
    except UnicodeDecodeError:
        return Problem(file, 0, 0, "", "the file is not UTF-8", "save it as UTF-8")
    except _TwiceError as error:
        _, found = yaml.parse(file, raw, Places())
        line, column = next(((each.line, each.column) for each in found if each.message == "is here twice"), (0, 0))
        return Problem(file, line, column, "", f"has the key `{error}` twice in one object", "leave one of them out")
    except (ValueError, RecursionError):
        return Problem(file, 0, 0, "", "not JSON: a number or a nesting beyond what JSON can say")


def _placed(file: str, path: pathlib.Path, flaw: contract.Flawed) -> Problem:
    """Place a flaw in its file. Where JSON's nodes stand is asked only now: JSON is YAML, but for tabs before it."""
    places = Places()
    yaml.parse(file, path.read_bytes(), places)
    where: Path = ()
    for token in contract.tokens(flaw.pointer[1:]) or ():
        index = (*where, int(token)) if token.isdecimal() else where
        where = index if places.knows(file, index) and index != where else (*where, token)
    found = places.where(file, where)
    return Problem(file, found.line or 1, found.column or 1, flaw.pointer, flaw.message, flaw.hint)


def _object(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return made


def _constant(_name: str) -> object:
    raise ValueError("no number")
