"""Writes a demo's folder: a configuration to read and play with, its environment, and where the log goes."""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV: Final = "demo"
LOG_LINES_SHOWN: Final = 5
_GROUP: Final = re.compile(r"^group: (\S+)$", re.MULTILINE)


class Folder:
    """A temporary folder: `config/`, `worker.log`, and a signing secret that nobody else knows.

    `spent`: nobody will need it once the demo has ended.
    """

    def __init__(self, *, spent: bool) -> None:
        self.spent = spent
        self.path = Path(tempfile.mkdtemp(prefix="hookline-demo-"))
        self.config = self.path / "config"
        self.log = self.path / "worker.log"
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()

    def write(self, source: Path, group: str, bootstrap: str, urls: Mapping[str, str], secret_name: str) -> None:
        """Write the configuration in `source` for a group ("" its own) and these addresses."""
        shutil.copytree(source, self.config)
        main = self.config / "hookline.yaml"
        main.write_text(named(main.read_text(), group) + f"state_dir: {json.dumps(str(self.path / 'state'))}\n")
        (self.config / "secrets").mkdir()
        secret = self.config / "secrets" / secret_name
        secret.touch(mode=0o600)
        secret.write_text(self.secret)
        (self.config / "env").mkdir()
        (self.config / "env" / f"{ENV}.yaml").write_text(environment(bootstrap, urls))

    def log_end(self) -> str:
        """Return the last lines of the log as the end of a message, "" without any."""
        last = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:] if self.log.exists() else []
        return "; its log ends with:\n" + "\n".join(last) if last else ""

    def leave(self) -> None:
        """Remove it with all that is in it if it is spent; idempotent."""
        if self.spent:
            shutil.rmtree(self.path, ignore_errors=True)


def named(text: str, group: str) -> str:
    """Return hookline.yaml with another group, and the input topics named after it; "" leaves it as it is."""
    found = _GROUP.search(text)
    assert found is not None
    was = found.group(1)
    if not group:
        return text
    return text.replace(f"group: {was}\n", f"group: {group}\n").replace(f"topic: {was}.", f"topic: {group}.")


def environment(bootstrap: str, urls: Mapping[str, str]) -> str:
    """Return env/demo.yaml: the addresses of this run. JSON is YAML."""
    lines = ["# Made for this run of the demo.", "mode: live", f"kafka: {{bootstrap: {json.dumps(bootstrap)}}}"]
    lines.append("destinations:")
    for name, url in urls.items():
        lines += [f"  {name}:", f"    base_url: {url}", "    private_networks: [127.0.0.0/8] # here it may be called"]
    return "\n".join(lines) + "\n"
