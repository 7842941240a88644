"""The arguments several commands share, and what they mean."""

from __future__ import annotations

import argparse
import pathlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import units
from pipeline.errors import ConfigError
from pipeline.model import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.config.models import Config

DIGITS_MAX: Final = 9
NUMBER_MAX: Final = 10**DIGITS_MAX - 1
"""No option needs a larger number."""

_AGE: Final = re.compile(units.DURATION_PATTERN, re.ASCII)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and `--env`."""
    parser.add_argument(
        "--config", metavar="DIR", type=pathlib.Path, default=pathlib.Path(), help="configuration folder (default: .)"
    )
    parser.add_argument("--env", metavar="NAME", help="environment: env/NAME.yaml of the folder")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_since(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add `--since`, whose value is a Since."""
    parser.add_argument(
        "--since", metavar="WHEN", type=Since, help=f"{meaning}: an age such as 6h, or a time (RFC 3339)"
    )


def whole(least: int, most: int = NUMBER_MAX) -> Callable[[str], int]:
    """Return what reads a whole number within these bounds; it raises ArgumentTypeError for anything else."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > DIGITS_MAX or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a number from {least} to {most}")
        return int(text)

    return read


class Since:
    """A moment given as an age (`90s`, `6h`, `7d`) or as a time; raises ArgumentTypeError for anything else."""

    def __init__(self, text: str) -> None:
        self._age_ms: int | None = None
        self._at_ms: int | None = None
        try:
            if _AGE.fullmatch(text):
                self._age_ms = units.duration_ms(text)
                return
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise argparse.ArgumentTypeError("must be an age such as 6h or 7d, or a time (RFC 3339)") from None
        self._at_ms = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)

    def at_ms(self, now_ms: int) -> int:
        """Return the moment in Unix ms, never before 1970."""
        if self._at_ms is not None:
            return max(self._at_ms, 0)
        assert self._age_ms is not None
        return max(now_ms - self._age_ms, 0)


def load(args: argparse.Namespace) -> tuple[Config, dict[str, str]]:
    """Load the configuration the arguments name, and the Kafka settings. Blocks on files; raises ConfigError."""
    from pipeline.config.load import kafka_settings  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.config.load import load as load_folder  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415

    config = load_folder(args.config, args.env)
    return config, kafka_settings(config, Secrets(config.folder))


def checked(args: argparse.Namespace) -> tuple[Config, dict[str, Any]]:
    """Load the configuration the arguments name, and its Avro schemas by full name; nothing secret is read.

    Blocks on files. Raises ConfigError with all that `hookline validate` refuses.
    """
    from pipeline.adapters.schemas import Folders, packaged  # noqa: PLC0415
    from pipeline.app import check  # noqa: PLC0415

    config, problems = check.checked(args.config, args.env)
    if config is None:
        raise ConfigError(problems)
    return config, dict(Folders((packaged(), config.folder / "schemas")).readers)


def unknown(flag: str, name: str, known: Iterable[str], what: str) -> ConfigError:
    """Make the error for a name that is not known, with the nearest one."""
    from pipeline.config.section import suggestion  # noqa: PLC0415

    there = list(known)
    hint = suggestion(name, there) or ("there are: " + ", ".join(there) if there else "there is none")
    return refuse(flag, f"there is no such {what}", hint)


def refuse(flag: str, message: str, hint: str = "") -> ConfigError:
    """Make the error for an argument that only turned out wrong once the command ran."""
    return ConfigError((Problem("", 0, 0, flag, message, hint),))
