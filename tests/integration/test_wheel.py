"""A wheel built from a clean copy carries what the package needs beside its code, and works by itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

from tests.support.parts import ROOT, unavailable

if TYPE_CHECKING:
    from pathlib import Path

BUILD_TIMEOUT_S = 110.0
SHIPPED = ("pipeline", "schemas", "docs", "pyproject.toml", "README.md", "LICENSE")
NAMES = ("Consent", "DeliveryOutcome", "Ledger", "LifecycleEvent", "Remembered", "Suppression")
CHECK = """
import pipeline
from pipeline.adapters.schemas import Folders, packaged
assert str(packaged()).startswith({target!r}), packaged()
print(*sorted(Folders((packaged(),)).readers))
"""


def test_an_installed_wheel_finds_its_schemas(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if built.returncode and "setuptools" in built.stderr and "No matching distribution" in built.stderr:
        unavailable("package index", "a wheel is built with the newest setuptools")
    assert built.returncode == 0, built.stderr[-2_000:]
    target = tmp_path / "installed"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        for path in (ROOT / "schemas").glob("*.avsc"):
            assert wheel.read(f"pipeline/schemas/{path.name}") == path.read_bytes()
        for path in (ROOT / "docs" / "examples").glob("*/story.yaml"):
            assert wheel.read(f"pipeline/examples/{path.parent.name}/story.yaml") == path.read_bytes()
        wheel.extractall(target)
    code = f"import sys; sys.path.insert(0, {str(target)!r})" + CHECK.format(target=str(target))
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.stdout.split() == [f"hookline.{name}" for name in NAMES], told.stderr
