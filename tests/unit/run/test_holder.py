"""run/holder: what headers weigh."""

from __future__ import annotations

from pipeline.run.holder import header_bytes


def test_names_and_contents_count_and_a_header_without_content_has_its_name() -> None:
    assert header_bytes(()) == 0
    assert header_bytes((("name", b"content"), ("none", None), ("empty", b""))) == 20
