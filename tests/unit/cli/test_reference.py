"""cli/reference: the page about the command line says what the parsers say."""

from __future__ import annotations

import argparse

from pipeline import cli
from pipeline.cli import reference


def test_the_page_is_current():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run: python -m pipeline.cli.reference"


def test_every_command_and_argument_is_on_the_page():
    page = reference.page()
    for name, summary, parser in reference._commands(cli.parser()):
        assert f"## hookline {name}\n" in page
        assert summary in page
        for action in parser._actions:
            for option in action.option_strings:
                if option not in ("-h", "--help"):  # which the page says of all commands at once
                    assert (f"`{option}" in page) == (action.help != argparse.SUPPRESS), (name, option)
