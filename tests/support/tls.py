"""Makes a throw-away certificate for `localhost` and 127.0.0.1 with the machine's `openssl`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.parts import build, tool

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """PEM files: what a client trusts, the server's private key (PKCS #8), and both in one file."""

    certificate: Path
    key: Path
    bundle: Path


def self_signed(folder: Path) -> Certificate:
    """A certificate valid for one day, in `folder`; PartMissingError without `openssl`."""
    made = Certificate(folder / "server.crt", folder / "server.key", folder / "server.pem")
    argv = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    build([*argv, "-keyout", str(made.key), "-out", str(made.certificate)], folder)
    made.bundle.write_text(made.key.read_text() + made.certificate.read_text())
    return made
