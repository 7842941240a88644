"""Credentials are replaced whole, and who prepared something of them is told."""

from __future__ import annotations

from pipeline.model import Credentials


def test_who_watches_credentials_prepares_at_once_and_again_after_a_replacement():
    seen = []
    mine = Credentials(path="/a", lines=b"x: 1\r\n")
    mine.watch(lambda: seen.append((mine.path, mine.query, mine.lines)))
    mine.replace(Credentials(path="/b", query="k=2"))
    assert seen == [("/a", "", b"x: 1\r\n"), ("/b", "k=2", b"")]


def test_credentials_show_nothing():
    assert "s3cret" not in repr(Credentials(query="s3cret", lines=b"s3cret"))
