"""Makes a throw-away certificate (for `localhost` and 127.0.0.1 by default) with the machine's `openssl`."""

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


def self_signed(folder: Path, *, host: str = "localhost", expired: bool = False) -> Certificate:
    """A certificate valid for one day, or since yesterday no more, in `folder`; PartMissingError without `openssl`."""
    made = Certificate(folder / "server.crt", folder / "server.key", folder / "server.pem")
    wanted, names = folder / "server.csr", folder / "names.cnf"
    address = ",IP:127.0.0.1" if host == "localhost" else ""
    names.write_text(f"basicConstraints=critical,CA:TRUE\nsubjectAltName=DNS:{host}{address}\n")
    argv = [tool("openssl"), "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}"]
    build([*argv, "-keyout", str(made.key), "-out", str(wanted)], folder)
    argv = [tool("openssl"), "x509", "-req", "-in", str(wanted), "-signkey", str(made.key), "-extfile", str(names)]
    build([*argv, "-days", "-1" if expired else "1", "-out", str(made.certificate)], folder)
    made.bundle.write_text(made.key.read_text() + made.certificate.read_text())
    return made
