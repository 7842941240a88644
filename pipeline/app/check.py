"""Performs the whole check of a configuration: files, agreement, expressions, schemas; all problems at once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.adapters.schemas import Folders, packaged
from pipeline.config import compile as compiler
from pipeline.config import staged
from pipeline.config.load import examine
from pipeline.config.models import HooklineFile

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

    from pipeline.config.models import Config
    from pipeline.model import Problem

VERSION_DIGITS: Final = 12


def checked(folder: pathlib.Path, env: str | None) -> tuple[Config | None, tuple[Problem, ...]]:
    """Load the configuration and its schemas and compile it as far as that goes without secrets.

    Returns it, or None if it is not fit to run, and all problems in the order of files. Blocks on the file system.
    """
    config, problems = examine(folder, env)
    readers, more = Folders.examined((packaged(), folder / "schemas"))
    problems += more
    if config is not None:
        said = {(each.file, each.field) for each in problems if each.field}
        problems += tuple(each for each in compiler.check(config, readers) if (each.file, each.field) not in said)
    if config is not None and not problems:
        problems += staged.check(config, readers)
    ordered = sorted(problems, key=lambda each: (each.file, each.line, each.column, each.field))
    return (None if problems else config), tuple(ordered)


def version(config: Config) -> str:
    """Return 12 hex digits that change with what a configuration does: not with layout, comments or secrets' values.

    Blocks on the files of `schemas/`.
    """
    own = Folders.examined((config.folder / "schemas",))[0]
    content: Mapping[str, Any] = {
        "hookline": {name: getattr(config, name) for name in HooklineFile.model_fields},
        "env": config.env,
        "mode": config.mode,
        "sink": config.sink,
        "destinations": config.destinations,
        "journeys": config.journeys,
        "tables": config.tables,
        "contracts": {name: each.schema for name, each in config.contracts.items()},
        "schemas": own,
    }
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return hashlib.sha256(orjson.dumps(content, default=_plain, option=option)).hexdigest()[:VERSION_DIGITS]


def _plain(given: Any) -> Any:
    return given.model_dump(mode="json") if hasattr(given, "model_dump") else str(given)
