"""The pages say who, what for, on which basis, in which order, and what is sent where and kept how long."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

from pipeline.cli.pages import text
from pipeline.config import files
from pipeline.config.compile import sent
from pipeline.config.load import load
from tests.unit.config.conftest import DESTINATION, Folder

READERS = {"hookline.LifecycleEvent": json.loads(pathlib.Path("schemas/lifecycle_event.avsc").read_text("utf-8"))}
GRAPH = """\
journey: end
status: live
owner: lifecycle@shop.example
goal: Show every kind of edge | and mark
category: service
basis: consent
purpose: marketing
trigger: {events: [signup.completed, signup.imported], when: "event.type != '' || true", max_age: 2h}
steps:
  - step: score
    call: crm.note
    kind: decide
    budget: 800ms
    payload: {customer: "${event.customer.id}"}
    default: {level: low}
  - step: tell
    after: score
    when: steps.score.response.level == "high"
    call: crm.note
    kind: update
    reaches: email
    payload: {a: "${event.customer.id}"}
  - step: otherwise
    after: {score: [dead, skipped]}
    call: crm.note
    kind: update
    payload: {a: 1}
  - step: log
    after: [tell, otherwise]
    join: any
    call: crm.note
    kind: record
    payload: {a: 1}
"""


@pytest.fixture
def known(tmp_path: pathlib.Path) -> text.Known:
    folder = Folder(tmp_path)
    (tmp_path / "journeys/welcome.yaml").unlink()
    folder.write("journeys/end.yaml", GRAPH)
    operation = "note: {path: /notes, response: {level: {at: /level, type: string, class: public}}}"
    folder.write(
        "destinations/crm.yaml",
        DESTINATION.replace("note: {path: /notes}", operation)
        + "data: {region: eu, retention: 730d}\nauth: {bearer: {token: env:CRM_TOKEN}}\nlimits: {rate: 10/s}\n",
    )
    folder.write(
        "destinations/chat.yaml",
        DESTINATION.replace("crm", "chat").replace(
            "https://chat.example", "{secret: env:CHAT_URL, host: hooks.chat.example}"
        ),
    )
    config = load(tmp_path, None)
    return text.Known(config, files.read(tmp_path).trees, sent(config, READERS))


def rows(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_a_journey(known: text.Known) -> None:
    page = text.journey(known, "end")
    assert "# end\n\nShow every kind of edge | and mark\n" in page
    facts = dict(row for row in rows(page) if len(row) == 2)
    assert facts["owner"] == "lifecycle@shop.example"
    assert facts["basis"] == "consent, purpose marketing"
    assert facts["starts with"] == "signup.completed, signup.imported"
    assert facts["if"] == "`event.type != '' \\|\\| true`"
    assert [
        "score",
        "[crm](../destinations/crm.md).note",
        "`customer`",
        "`event.customer.id`",
        "identifier",
        "eu",
        "730d",
    ] in rows(page)


def test_its_diagram(known: text.Known) -> None:
    [diagram] = re.findall(r"```mermaid\n(.*?)```", text.journey(known, "end"), re.DOTALL)
    assert [line.strip() for line in diagram.splitlines()[5:]] == [
        's_log["log<br/>record: crm.note"]',
        "start --> s_score",
        "s_score --> s_tell",
        "s_score -->|dead, skipped| s_otherwise",
        "s_tell -.-> s_log",
        "s_otherwise -.-> s_log",
    ]


def test_a_destination_shows_no_secret(known: text.Known) -> None:
    page = text.destination(known, "crm")
    facts = dict(row for row in rows(page) if len(row) == 2)
    assert facts["where"] == "`https://crm.example`"
    assert (facts["lets us in by"], facts["at most"]) == ("bearer", "10/s")
    assert (facts["region"], facts["kept"]) == ("eu", "730d")
    assert "CRM_TOKEN" not in page
    hidden = text.destination(known, "chat")
    assert "`hooks.chat.example` (the URL is a secret)" in hidden
    assert "CHAT_URL" not in hidden


def test_what_nobody_sends(known: text.Known) -> None:
    assert text.destination(known, "chat").endswith("## What it is sent\n\nNothing.\n")


def test_the_first_page(known: text.Known) -> None:
    page = text.index(known)
    assert ["[end](journeys/end.md)", "live", "Show every kind of edge \\| and mark", "lifecycle@shop.example",
            "service", "consent"] in rows(page)  # fmt: skip
    assert ["[crm](destinations/crm.md)", "sales@shop.example", "identifier", "eu", "730d"] in rows(page)


def test_what_hookline_itself_keeps_is_said_as_the_configuration_has_it(known: text.Known, tmp_path) -> None:
    page = text.index(known)
    kept = {row[0]: row[2] for row in rows(page.partition("## What Hookline itself keeps")[2])}
    group = known.config.group
    assert kept[f"`{group}.dead`"] == "14d (`retention.dead`)"
    assert kept[f"`{group}.outcomes`"] == "30d (`retention.outcomes`)"
    assert kept[f"`{group}.retry.*`"] == "until settled, at most 2h (`max_age`)"
    assert f"`{group}.memory`" not in kept  # nothing is remembered here
    assert "](../index.md#what-hookline-itself-keeps)" in text.journey(known, "end")
    main = tmp_path / "hookline.yaml"
    main.write_text(main.read_text() + "retention: {dead: 3d, outcomes: 90d, memory: 100d}\n")
    journey = tmp_path / "journeys/end.yaml"
    once = 'max_age: 2h, once: {key: "${event.type}", per: 1d}}\nordering: key'
    journey.write_text(journey.read_text().replace("max_age: 2h}", once).replace("kind: record", "kind: update"))
    changed = text.Known(load(tmp_path, None), known.trees, known.sent)
    kept = {row[0]: row[2] for row in rows(text.index(changed).partition("## What Hookline itself keeps")[2])}
    assert kept[f"`{group}.dead`"] == "3d (`retention.dead`)"
    assert kept[f"`{group}.outcomes`"] == "90d (`retention.outcomes`)"
    assert kept[f"`{group}.memory`"] == "until superseded, at most 100d (`retention.memory`)"
    assert kept[f"`{group}.ordered.end`"].startswith("until settled")


def test_cause_and_effect_are_said_of_every_step(known: text.Known, tmp_path: pathlib.Path) -> None:
    found = rows(text.index(known).partition("## Cause and effect")[2].partition("## ")[0])[2:]
    trigger = "`event.type != '' \\|\\| true`"
    assert len(found) == 8  # four steps, two types of events
    assert [
        "`signup.completed`",
        f'{trigger} and score is delivered or defaulted and `steps.score.response.level == "high"`',
        "[crm](destinations/crm.md).note (update)",
        "`a`",
        "[end](journeys/end.md), tell",
    ] in found
    [log] = [each for each in found if each[0] == "`signup.imported`" and each[-1].endswith(", log")]
    assert "tell is delivered or defaulted or otherwise is delivered or defaulted" in log[1]
    journey = tmp_path / "journeys/end.yaml"
    mark = "mark: {suppress: {category: promotional, id: 'a:${event.id}', at_most: 30d}}"
    written = journey.read_text().replace("status: live", "status: draft")
    journey.write_text(written + f"  - step: hold\n    {mark}\n")
    marked = text.Known(load(tmp_path, None), known.trees, known.sent)
    found = rows(text.index(marked).partition("## Cause and effect")[2].partition("## ")[0])
    holds = [each for each in found if each[-1].endswith(", hold (draft)")]
    assert {each[2] for each in holds} == {"our own tables: suppress category promotional"}
