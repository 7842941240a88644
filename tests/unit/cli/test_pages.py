"""`hookline pages` writes what it says, keeps it up to date, and never touches what others wrote."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from pipeline.cli import main, pages

CDNOW = pathlib.Path("tests/data/config/cdnow")
FILES = {
    "index.md", "topics.asyncapi.json", "journeys/purchase_thanks.md", "destinations/crm.md",
    "destinations/crm.openapi.json", "destinations/warehouse.md", "destinations/warehouse.openapi.json",
}  # fmt: skip


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(CDNOW, tmp_path / "cdnow"))


def written(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_pages_and_contracts(config: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "pages"
    assert main(["pages", str(folder), "--config", str(config)]) == 0
    made = written(folder)
    assert made.keys() == FILES
    assert all(pages.MARK.encode() in content for content in made.values())
    for name in ("crm", "warehouse"):
        OpenAPIV31SpecValidator(json.loads(made[f"destinations/{name}.openapi.json"])).validate()


def test_links_lead_to_pages(config: pathlib.Path, tmp_path: pathlib.Path) -> None:
    import re  # noqa: PLC0415

    main(["pages", str(tmp_path / "pages"), "--config", str(config)])
    found = 0
    for page in (tmp_path / "pages").rglob("*.md"):
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            file, _, anchor = link.partition("#")
            assert (page.parent / file).exists(), (page.name, link)
            heads = re.findall(r"^#+ (.*)$", (page.parent / file).read_text(), re.MULTILINE) if anchor else []
            assert not anchor or anchor in [each.lower().replace(" ", "-") for each in heads], (page.name, link)
            found += 1
    assert found > 5


def test_written_again_nothing_changes_and_check_agrees(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, where = tmp_path / "pages", ["--config", str(config)]
    assert main(["pages", str(folder), "--check", *where]) == 1
    assert not folder.exists()
    main(["pages", str(folder), *where])
    before = written(folder)
    assert main(["pages", str(folder), "--check", *where]) == 0
    capsys.readouterr()
    main(["pages", str(folder), *where])
    assert capsys.readouterr().err == "0 written, 0 removed, 7 as they were\n"
    assert written(folder) == before


def test_what_is_gone_is_removed_and_what_others_wrote_stays(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, where = tmp_path / "pages", ["--config", str(config)]
    main(["new", "journey", "short_lived", *where])
    main(["pages", str(folder), *where])
    (folder / "journeys/notes.md").write_text("# mine\n")
    for kind in ("journeys", "tests"):
        (config / f"{kind}/short_lived.yaml").unlink()
    capsys.readouterr()
    assert main(["pages", str(folder), "--check", *where]) == 1
    assert "journeys/short_lived.md: is out of date" in capsys.readouterr().out
    assert main(["pages", str(folder), *where]) == 0
    assert written(folder).keys() == FILES | {"journeys/notes.md"}


def test_nothing_of_others_is_written_over(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/index.md").write_text("# mine\n")
    assert main(["pages", str(tmp_path / "pages"), "--config", str(config)]) == 2
    assert "would be written over: index.md" in capsys.readouterr().err
    assert written(tmp_path / "pages") == {"index.md": b"# mine\n"}


def test_what_is_not_fit_to_run_has_no_pages(config: pathlib.Path, tmp_path: pathlib.Path) -> None:
    journey = config / "journeys/purchase_thanks.yaml"
    journey.write_text(journey.read_text().replace("status: live", "status: on"))
    assert main(["pages", str(tmp_path / "pages"), "--config", str(config)]) == 2
    assert not (tmp_path / "pages").exists()
