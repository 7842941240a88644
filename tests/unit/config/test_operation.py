"""An operation: every key is read, and every mistake is named with its place and without its value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

CRM = "destinations/crm.yaml"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("method: post", "operations.note.method: must be one of: POST, PUT, PATCH, DELETE, GET"),
        ("method: GET", "operations.note: a GET request has no body (add body: none)"),
        ("path: notes", "operations.note.path: must start with / and be percent-encoded"),
        ("path: '/a?b=c'", "operations.note.path: must start with / and be percent-encoded"),
        (
            "headers: {Host: x}",
            "operations.note.headers.Host: is a header Hookline writes itself",
        ),
        ("headers: {webhook-id: x}", "operations.note.headers.webhook-id: is a header Hookline "),
        (
            "headers: {Authorization: hunter2}",
            "operations.note.headers.Authorization: carries a ",
        ),
        ('headers: {A: "x\\r\\ny"}', "operations.note.headers.A: must be printable ASCII"),
        ("headers: {A: '${event.id}'}", "operations.note.headers.A: headers are literals"),
    ],
)
def test_refused(folder: Folder, line: str, expected: str) -> None:
    problem = folder.change(CRM, "  note: {path: /notes}", f"  note:\n    {line}").problem()
    assert problem.partition(": ")[2].startswith(expected)
    assert "hunter2" not in problem
