"""Installs a signer for a test: a module and its distribution's metadata, found as an installed package's are."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MODULE = """
class Signer:
    def __init__(self, options):
        self.options = options

    async def sign(self, content):
        return "v1a," + self.options.get("mark", "abc=")

def make(options):
    if "wrong" in options:
        raise ValueError("canary " + options["wrong"])
    return Signer(options) if "none" not in options else object()
"""
ENTRY_POINTS = "[hookline.signers]\nkms = hookline_test_signer:make\ngone = hookline_test_signer:nothing\n"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `kms` a signer that signs with its option `mark`, until the test ends."""
    (folder / "hookline_test_signer.py").write_text(MODULE)
    metadata = folder / "hookline_test_signer-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hookline-test-signer\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
