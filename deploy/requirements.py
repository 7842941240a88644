"""Prints the run-time dependencies of a pyproject.toml, one a line, so that an image layer can hold them alone."""

# ruff: noqa: INP001 - a script, not a package
from __future__ import annotations

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    sys.stdout.write("\n".join(project["dependencies"]) + "\n")
