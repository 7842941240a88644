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
        ("path: '/a/{b'", "operations.note.path: has a brace that belongs to no parameter"),
        ("path: '/a/b}'", "operations.note.path: has a brace that belongs to no parameter"),
        ("path: '/a/{}'", "operations.note.path: has a brace that belongs to no parameter"),
        ("path: '/a/{b c}'", "operations.note.path: has a brace that belongs to no parameter"),
        ("path: '/a/{{b}}'", "operations.note.path: has a brace that belongs to no parameter"),
        ("path: '/a/${event.id}'", "operations.note.path: has a brace that belongs to no parameter"),
        ("path: '/{a}/{b}/{a}'", "operations.note.path: has a parameter twice"),
        ("path: '{a}'", "operations.note.path: must start with /"),
        ("path: /a%2", "operations.note.path: must start with / and be percent-encoded"),
        ("path: /a/../b", "operations.note.path: must not have . or .. as a segment"),
        ("path: /a/%2E%2e", "operations.note.path: must not have . or .. as a segment"),
        ("path: " + "".join(f"/{{a{n}}}" for n in range(17)), "operations.note.path: has more than 16 parameters"),
        ("query: {a: [b]}", "operations.note.query.a: must be text, a number, true or false (a query has no lists"),
        ("query: {a: '${event.id'}", "operations.note.query.a: `${` is not closed (write `$${` for a literal `${`)"),
        ("query: {1: b}", "operations.note.query[1]: must be text (put it in quotes)"),
        ("query: {'?': b}", "operations.note.query.?: must be text"),
        ("query: {'${a}': b}", "operations.note.query.${a}: a key cannot be computed"),
        ("query: {a: b, 'a?': c}", "operations.note: the query has a key both with and without `?`"),
        ("body: xml", "operations.note.body: must be one of: json, form, ndjson, none"),
        ("{metadata: headers_and_body, body: form}", "operations.note: metadata cannot go into a body that is form"),
        ("{metadata: headers_and_body, body: none}", "operations.note: metadata cannot go into a body that is none"),
        ("request_schema: a.json", "operations.note.request_schema: must be contracts/NAME.json"),
        ("request_schema: contracts/../a.json", "operations.note.request_schema: must be contracts/NAME.json"),
        ("{request_schema: contracts/a.json, body: none}", "operations.note: `request_schema` needs a body"),
        ("response_schema: contracts/a.json", "operations.note.response_schema: there is no such file (put the JSON"),
        ("response: {id: {type: string}}", "operations.note.response.id.at: is required"),
        ("response: {id: {at: id, type: string}}", "operations.note.response.id.at: must be a JSON pointer (RFC 6901)"),
        (
            "response: {id: {at: /id, type: text}}",
            "operations.note.response.id.type: must be one of: string, int, number",
        ),
        ("response: {Id: {at: /id, type: int}}", "operations.note.response.Id: must be a name"),
        ("response: {id: {at: /id, type: int, one_of: [a]}}", "operations.note.response.id: `one_of` has a value that"),
        ("response: {id: {at: /id, type: map, one_of: [a]}}", "operations.note.response.id: `one_of` does not go with"),
        ("response: {id: {at: /id, type: int, at_least: 1}}", "operations.note.response.id.at_least: there is no such"),
        ("batch: {max_events: 10}", "operations.note.batch: sends items without delivery IDs, so their repeats"),
        ("batch: {max_events: 1}", "operations.note.batch.max_events: "),
        ("batch: {max_events: 9, max_bytes: 17MiB}", "operations.note.batch.max_bytes: must be at most 16MiB"),
        ("batch: {max_events: 9, max_wait: 2m}", "operations.note.batch.max_wait: must be at most 1m"),
        ("batch: {max_events: 9, results: {at: /a}}", "operations.note.batch.results.status: is required"),
        (
            "batch: {max_events: 9, results: {status: s}}",
            "operations.note.batch.results.status: must be a JSON pointer",
        ),
        ("{body: form, batch: {max_events: 9}}", "operations.note: `batch` does not go with a body that is form"),
        ("{batch: {max_events: 9}, query: {a: '${event.id}'}}", "operations.note: `batch` needs a constant path and"),
        (
            "{batch: {max_events: 9}, response: {a: {at: /a, type: int}}}",
            "operations.note: `response` does not go with",
        ),
        (
            "headers: {Authorization: hunter2}",
            "operations.note.headers.Authorization: carries a ",
        ),
        ('headers: {A: "x\\r\\ny"}', "operations.note.headers.A: must be printable ASCII"),
        ("headers: {A: '${event.id}'}", "operations.note.headers.A: headers are literals"),
    ],
)
def test_refused(folder: Folder, line: str, expected: str) -> None:
    text = f" {line}" if line.startswith("{") else f"\n    {line}"
    problem = folder.change(CRM, "  note: {path: /notes}", f"  note:{text}").problem()
    assert problem.partition(": ")[2].startswith(expected)
    assert "hunter2" not in problem


FULL = """\
  note:
    method: PATCH
    path: /v3/accounts/{account}/notes/{note-id}
    query: {expand: owner, limit: 5, all: true, since?: "${event.time}"}
    headers: {Prefer: return=minimal}
    body: json
    metadata: headers_and_body
    request_schema: contracts/crm.note.request.json
    response_schema: contracts/crm.note.response.json
    response:
      stage: {at: /data/stage, type: string, one_of: [won, lost]}
      owner: {at: /data/owner, type: string, optional: true}
      whole: {at: "", type: map}
    batch: none
"""


def test_every_key(folder: Folder) -> None:
    for name in ("request", "response"):
        folder.write(f"contracts/crm.note.{name}.json", "{}")
    folder.change("journeys/welcome.yaml", "customer:", "account: 7\n      note-id: x\n      customer:")
    config = folder.change(CRM, "  note: {path: /notes}\n", FULL).load()
    note = config.destinations["crm"].operations["note"]
    assert note.parameters == ("account", "note-id")
    assert note.path_pieces == (("/v3/accounts/", False), ("account", True), ("/notes/", False), ("note-id", True))
    assert (note.changes_target, note.reads_response) == (True, True)
    assert dict(note.query) == {"expand": "owner", "limit": 5, "all": True, "since?": "${event.time}"}
    assert note.response["stage"].one_of == ("won", "lost")
    assert set(config.contracts) == {"contracts/crm.note.request.json", "contracts/crm.note.response.json"}


def test_what_no_event_changes(folder: Folder) -> None:
    note = folder.change(CRM, "/notes}", "/notes, query: {a: b, n: 1}}").load().destinations["crm"].operations["note"]
    assert (note.changes_target, note.reads_response, note.parameters) == (False, False, ())
    assert note.path_pieces == (("/notes", False),)
