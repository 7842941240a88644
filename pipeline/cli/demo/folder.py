"""Writes the demo's folder: a configuration to read and play with, its environment, and where the log goes."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV: Final = "demo"
_GROUP: Final = "demo"
"""The group in the packaged configuration."""


class Folder:
    """A temporary folder: `config/`, `worker.log`, and a signing secret that nobody else knows.

    `spent`: nobody will need it once the demo has ended.
    """

    def __init__(self, *, spent: bool) -> None:
        self.spent = spent
        self.path = Path(tempfile.mkdtemp(prefix="hookline-demo-"))
        self.config = self.path / "config"
        self.log = self.path / "worker.log"
        self.crm_secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()

    def write(self, group: str, bootstrap: str, urls: Mapping[str, str]) -> None:
        """Write the configuration of a group for these addresses."""
        shutil.copytree(str(resources.files("pipeline.cli.demo") / "configuration"), self.config)
        main = self.config / "hookline.yaml"
        main.write_text(named(main.read_text(), group) + f"state_dir: {json.dumps(str(self.path / 'state'))}\n")
        (self.config / "secrets").mkdir()
        secret = self.config / "secrets" / "crm"
        secret.touch(mode=0o600)
        secret.write_text(self.crm_secret)
        (self.config / "env").mkdir()
        (self.config / "env" / f"{ENV}.yaml").write_text(environment(bootstrap, urls))

    def leave(self) -> None:
        """Remove it with all that is in it if it is spent; idempotent."""
        if self.spent:
            shutil.rmtree(self.path, ignore_errors=True)


def named(text: str, group: str) -> str:
    """Return hookline.yaml with another group, and the input topic named after it."""
    for line in (f"group: {_GROUP}\n", f"topic: {_GROUP}.events\n"):
        assert line in text
        text = text.replace(line, line.replace(f" {_GROUP}", f" {group}"))
    return text


def environment(bootstrap: str, urls: Mapping[str, str]) -> str:
    """Return env/demo.yaml: the addresses of this run. JSON is YAML."""
    lines = ["# Made for this run of the demo.", "mode: live", f"kafka: {{bootstrap: {json.dumps(bootstrap)}}}"]
    lines.append("destinations:")
    for name, url in urls.items():
        lines += [f"  {name}:", f"    base_url: {url}", "    private_networks: [127.0.0.0/8] # here it may be called"]
    return "\n".join(lines) + "\n"
