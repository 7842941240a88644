"""Contracts are read with the configuration, and a flawed one is named with file and place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config import contracts

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"a": 1 "b": 2}', "contracts/a.json:1:9: not JSON: "),
        ("", "contracts/a.json:1:1: not JSON: Expecting value"),
        (b'{"a": "\xff"}', "contracts/a.json: the file is not UTF-8"),
        ('{"type": "object", "type": "array"}', "contracts/a.json:1:20: has the key `type` twice in one object"),
        ('{"const": NaN}', "contracts/a.json: not JSON: a number or a nesting beyond what JSON can say"),
        ("[" * 100_000, "contracts/a.json: not JSON: "),
        ('{"x": "' + "x" * contracts.FILE_BYTES_MAX + '"}', "contracts/a.json: the file is larger than 256 KiB"),
        ("[]", "contracts/a.json:1:1: #: must be an object, or true or false"),
        (
            '{"properties": {"a": {"type": "objekt"}}}',
            "contracts/a.json:1:31: #/properties/a/type: is not what draft 2020-12 allows here (one of string, ",
        ),
        (
            '{"allOf": [true, {"items": {"$ref": "#/$defs/gone"}}]}',
            "contracts/a.json:1:37: #/allOf/1/items/$ref: leads nowhere",
        ),
        (
            '{"$ref": "http://example.org"}',
            "contracts/a.json:1:10: #/$ref: must stay inside the file, and so begin with #",
        ),
    ],
)
def test_a_flawed_contract_is_named_with_its_place(folder: Folder, content: str, problem: str) -> None:
    assert folder.write("contracts/a.json", content).problem().startswith(problem)


def test_nothing_more_is_said_of_what_uses_a_flawed_contract(folder: Folder) -> None:
    folder.change("destinations/crm.yaml", "/notes}", "/notes, request_schema: contracts/a.json}")
    assert folder.write("contracts/a.json", "[]").problem().startswith("contracts/a.json:1:1: #: ")


def test_a_byte_order_mark_does_no_harm(folder: Folder) -> None:
    folder.write("contracts/a.json", b'\xef\xbb\xbf{"type": "object"}')
    assert contracts.read(folder.root)[0]["contracts/a.json"].check([]) == "# type"


def test_without_the_folder_there_are_none(folder: Folder) -> None:
    assert contracts.read(folder.root) == ({}, [])
