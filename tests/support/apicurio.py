"""Starts a real Schema Registry (Apicurio, Confluent's interface) from its Maven Central archive."""

from __future__ import annotations

import tarfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.children import Child
from tests.support.parts import COPY, build, cached, java, tool
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "2.6.13.Final"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
START_TIMEOUT_S = 90.0


@contextmanager
def apicurio(folder: Path) -> Iterator[str]:
    """Yield the base URL of a registry that keeps everything in memory; PartMissingError without Java or Maven.

    Takes about 6 s; the first time it downloads 142 MB into `.cache/`.
    """
    home = cached(f"apicurio-{VERSION}", _fetch)
    port = free_port()
    base = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    child = Child(
        [java(), "-Xmx384m", "-XX:+UseSerialGC", "-jar", str(next(home.glob("*-runner.jar")))],
        folder / "apicurio.log",
        QUARKUS_HTTP_HOST="127.0.0.1",
        QUARKUS_HTTP_PORT=str(port),
    )
    try:
        child.wait_ready(lambda: _answers(f"{base}/subjects"), START_TIMEOUT_S)
        yield base
    finally:
        child.stop()


def _fetch(folder: Path) -> None:
    build([tool("mvn"), "-q", "-B", f"{COPY}:copy", f"-DoutputDirectory={folder}", f"-Dartifact={ARTIFACT}"], folder)
    archive = next(folder.glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        if hasattr(tarfile, "data_filter"):  # not in 3.11.0 to 3.11.3 (PEP 706), where what Maven checked is trusted
            packed.extraction_filter = tarfile.data_filter
        packed.extractall(folder)
    archive.unlink()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
