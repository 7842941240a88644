"""Writes docs/reference/cli.md from the parsers: `python -m pipeline.cli.reference`. A test holds the page to them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"

_HEAD: Final = """\
# Command line

Generated from the code by `python -m pipeline.cli.reference`; do not edit.

{description} Every command has `--help`; those that print data print JSON with `--json`.

Exit codes, of every command:

| code | meaning |
|---|---|
| 0 | it went well |
| 1 | problems were found, or Kafka did not answer |
| 2 | the call or the configuration is wrong, or a topic is missing |
| 130 | interrupted |

| command | what it does |
|---|---|
{commands}
"""


def page() -> str:
    """Return the page. Made from the parsers' parts, since argparse lays out help differently in each Python."""
    top = cli.parser()
    named = list(_commands(top))
    rows = "\n".join(f"| [`{name}`](#{_anchor(name)}) | {summary} |" for name, summary, _ in named)
    parts = [_HEAD.format(description=top.description, commands=rows)]
    for name, _, parser in named:
        parts.append(_section(f"hookline {name}", parser, 2))
        parts += [_section(f"hookline {name} {action}", each, 3) for action, _, each in _commands(parser)]
    return "\n".join(parts)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Give name, summary and parser of each command; those without a summary are not for people."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to look into a parser
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for choice in action._choices_actions:  # noqa: SLF001
                yield choice.dest, choice.help or "", action.choices[choice.dest]


def _anchor(name: str) -> str:
    return f"hookline-{name}".replace(" ", "-")


def _section(name: str, parser: argparse.ArgumentParser, level: int) -> str:
    shown = [each for each in parser._actions if _documented(each)]  # noqa: SLF001
    usage = " ".join([name, *map(_usage, shown), *(["ACTION ..."] if any(_commands(parser)) else [])])
    lines = [f"{'#' * level} hookline {name.removeprefix('hookline ')}", "", f"```console\n{usage}\n```", ""]
    if parser.description:
        lines += [parser.description, ""]
    if shown:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| {_name(each)} | {_help(parser, each)} |" for each in shown]
        lines.append("")
    return "\n".join(lines)


def _documented(action: argparse.Action) -> bool:
    hidden = isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))  # noqa: SLF001
    return not hidden and action.help is not argparse.SUPPRESS


def _metavar(action: argparse.Action) -> str:
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    named = action.metavar or action.dest.upper().replace("_", "-")
    return named if isinstance(named, str) else " ".join(named)


def _usage(action: argparse.Action) -> str:
    if not action.option_strings:
        return _metavar(action) if action.nargs not in ("?", "*") else f"[{_metavar(action)}]"
    long = action.option_strings[-1]
    text = long if action.nargs == 0 else f"{long} {action.metavar or action.dest.upper().replace('_', '-')}"
    return text if action.required else f"[{text}]"


def _name(action: argparse.Action) -> str:
    names = action.option_strings or [_metavar(action)]
    value = f" {_metavar(action)}" if action.option_strings and action.nargs != 0 else ""
    return ", ".join(f"`{name}{value}`" for name in names).replace("|", "\\|")


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    return (text + (" (required)" if action.required and action.option_strings else "")).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
