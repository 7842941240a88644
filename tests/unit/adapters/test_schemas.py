"""The folders of .avsc files: what is found by fingerprint and by name, and what is refused with its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.adapters.schemas import Folders, KnownSchemas, Registry, packaged
from pipeline.core import decode
from pipeline.errors import ConfigError
from pipeline.ports import Found, Unknown

if TYPE_CHECKING:
    from pathlib import Path


def record(name: str, *fields: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": field, "type": kind} for field, kind in fields]}


def write(folder: Path, **schemas: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for stem, schema in schemas.items():
        text = schema if isinstance(schema, str) else json.dumps(schema)
        (folder / f"{stem.replace('__', '@')}.avsc").write_text(text)
    return folder


def problems(*folders: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Folders(folders)
    return [str(problem) for problem in caught.value.problems]


async def test_hooklines_own_schemas_are_there() -> None:
    folders = Folders((packaged(),))
    names = ("LifecycleEvent", "DeliveryOutcome", "Ledger", "Consent", "Suppression", "Remembered")
    assert set(folders.readers) == {f"hookline.{name}" for name in names}
    known = KnownSchemas(folders)
    for schema in known.reader_schemas().values():
        assert await known.fetch(decode.fingerprint(schema)) == Found(schema)
    assert isinstance(await known.fetch(b"\x00" * 8), Unknown)
    assert isinstance(await known.fetch(7), Unknown)
    assert isinstance(await known.fetch(b"\x00" * 16), Unknown)


def test_every_field_is_documented_and_personal_data_classed() -> None:
    def walk(schema: Any, path: str) -> None:
        if isinstance(schema, list):
            for branch in schema:
                walk(branch, path)
        if not isinstance(schema, dict):
            return
        if schema["type"] == "record":
            assert schema["doc"], path
            for field in schema["fields"]:
                place = f"{path}.{field['name']}"
                assert field["doc"].endswith("."), place
                if place.startswith(".customer."):
                    assert field["hookline.class"] in {"identifier", "contact", "free_text"}, place
                walk(field["type"], place)
        for key in ("items", "values", "type"):
            walk(schema.get(key), path)

    for path in packaged().glob("*.avsc"):
        walk(json.loads(path.read_text()), "")


def test_types_in_other_files_are_written_out(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        order=record("shop.Order", ("total", "Money"), ("paid", ["null", "shop.Money"])),
        money=record("shop.Money", ("amount", "long"), ("currency", "shop.Currency")),
        currency={"type": "enum", "name": "Currency", "namespace": "shop", "symbols": ["EUR", "USD"]},
    )
    order = Folders((folder,)).readers["shop.Order"]
    assert decode.reader(order)(b"\x0e\x02\x00", 0) == {"total": {"amount": 7, "currency": "USD"}, "paid": None}


def test_older_shapes_are_found_by_fingerprint_only(tmp_path: Path) -> None:
    old, new = (
        record("shop.Order", ("id", "string")),
        record("shop.Order", ("id", "string"), ("total", ["null", "long"])),
    )
    folders = Folders((write(tmp_path, order=new, order__2024=old),))
    assert folders.readers["shop.Order"] == new
    assert folders.written(decode.fingerprint(old)) == old
    assert folders.written(decode.fingerprint(new)) == new


def test_a_later_folder_replaces_a_name(tmp_path: Path) -> None:
    ours = record("A", ("x", "long"))
    theirs = record("A", ("x", "string"))
    folders = Folders((write(tmp_path / "a", a=ours), write(tmp_path / "b", a=theirs), tmp_path / "absent"))
    assert folders.readers == {"A": theirs}
    assert folders.written(decode.fingerprint(ours)) == ours


def test_all_problems_at_once_with_their_places(tmp_path: Path) -> None:
    folder = write(
        tmp_path, broken='{"type":\n "record",}', missing=record("M", ("x", "Nowhere")), one=record("S", ("x", "long")),
        two=record("S", ("y", "long")),
    )  # fmt: skip
    found = problems(folder)
    assert len(found) == 3
    assert any(each.startswith("schemas/broken.avsc:2:") and "is not JSON" in each for each in found)
    assert any(each.startswith("schemas/missing.avsc: not an Avro schema") for each in found)
    assert any(" is also in " in each for each in found)


def test_settings_the_client_refuses_are_refused_without_being_told() -> None:
    with pytest.raises(ConfigError) as caught:
        Registry({"url": "ftp://ann:s3cret@registry.example"})
    assert "s3cret" not in str(caught.value)
