"""The documentation says what the code does: examples are valid, lists complete, names real, pages up to date."""

from __future__ import annotations

import copy
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import fastavro
import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from ruamel.yaml import YAML

from pipeline import cli, model
from pipeline.adapters.telemetry import outbox
from pipeline.config.cases import CaseFile
from pipeline.config.compile import compile as compile_config
from pipeline.config.contacting import Cap
from pipeline.config.destination import DestinationConfig
from pipeline.config.journey import JourneyConfig
from pipeline.config.load import load
from pipeline.config.models import EnvFile, Trigger
from pipeline.config.policy import EventMapping, HooklineFile, Kafka
from pipeline.config.remember import Awaited, Success
from pipeline.config.secrets import Secrets
from pipeline.core import deadletter, payload, runstate, verdict
from pipeline.model import Answer, Failure, FailureClass, RetryPolicy
from pipeline.run import brake, consume, drain, lines, release, turns
from tests.bench.measures.measures import ALL

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md"]
EXAMPLES = {
    "hookline.yaml": HooklineFile,
    "kafka": Kafka,
    "journey": JourneyConfig,
    "destination": DestinationConfig,
    "env": EnvFile,
    "test": CaseFile,
    "trigger": Trigger,
    "cancel_on": Awaited,
    "success": Success,
    "caps": Cap,
    "events": EventMapping,
}


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def examples():
    """Every block of YAML in the documentation, with the comment before it that says what it is an example of."""
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        for number, (kind, block) in enumerate(
            re.findall(r"(?:<!-- (.*?) -->\n)?```yaml\n(.*?)```", content, re.DOTALL)
        ):
            yield pytest.param(kind, block, id=f"{page.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize(("kind", "block"), list(examples()))
def test_examples_are_valid(kind, block):
    assert kind, "say in a comment before it what the block is: <!-- validate: KIND --> or <!-- file: PATH -->"
    what, _, name = kind.partition(": ")
    if what == "file":
        folder = Path(name).parent.name
        name = {"journeys": "journey", "destinations": "destination", "tests": "test"}.get(folder, Path(name).name)
        name = "env" if kind.endswith("/env/local.yaml") else name
    EXAMPLES[name].model_validate(YAML(typ="safe", pure=True).load(block))


def folders():
    """The configurations that pages build up file by file: (page, top folder)."""
    return sorted(
        {(str(page.relative_to(DOCS)), found.partition("/")[0])
         for page in DOCS.rglob("*.md") for found in re.findall(r"<!-- file: (\S+) -->", page.read_text("utf-8"))}
    )  # fmt: skip


@pytest.mark.parametrize(("page", "folder"), folders())
def test_a_configuration_built_up_on_a_page_is_valid(page, folder, tmp_path, capsys):
    for path, block in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text(page), re.DOTALL):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(block)
    assert cli.main(["validate", "--config", str(tmp_path / folder)]) == 0, capsys.readouterr().out
    if (tmp_path / folder / "tests").is_dir():
        assert cli.main(["test", "--config", str(tmp_path / folder)]) == 0, capsys.readouterr().out


def test_the_cases_on_a_page_come_out_as_it_says(tmp_path, capsys):
    """Of docs/howto/when-a-step-fails.md: every way that a failure may take, played on a whole worker."""
    for path, block in re.findall(
        r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text("howto/when-a-step-fails.md"), re.DOTALL
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(block)
    assert cli.main(["test", "--config", str(tmp_path / "shop")]) == 0, capsys.readouterr().out
    assert "5 of 5 cases came out as expected" in capsys.readouterr().out


def test_the_requests_on_a_page_are_those_its_configuration_makes(tmp_path):
    """Of docs/howto/operations-and-contracts.md: every option of an operation, as it goes over the wire."""
    page = text("howto/operations-and-contracts.md")
    for path, block in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", page, re.DOTALL):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(block)
    folder = tmp_path / "accounts"
    schema = json.loads((ROOT / "schemas" / "lifecycle_event.avsc").read_text())
    [shown] = re.findall(r"<!-- event -->\n```json\n(.*?)```", page, re.DOTALL)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), {"consent": {}, **json.loads(shown)})
    made = compile_config(load(folder, None), Secrets(folder, {}), {"hookline.LifecycleEvent": schema})
    plan = made.plan("lifecycle.events", schema)
    datum = plan.read(out.getvalue(), 0)
    event = plan.envelope(datum, model.Record("lifecycle.events", 0, 0, None, out.getvalue(), (), 0))
    requests = dict(re.findall(r"<!-- request: (\w+) -->\n```http\n(.*?)```", page, re.DOTALL))
    steps = {step.name: step for step in plan.routes["trial.started"][0].steps}
    assert requests.keys() == steps.keys()
    assert {name: on_the_wire(step, datum, event) for name, step in steps.items()} == requests


def on_the_wire(step, datum, event) -> str:
    """A step's request without the headers that every request has."""
    delivery = payload.delivery_id(event.id, step.id_suffix)
    body = step.render(datum, 0)
    body = step.metadata(body, event, delivery) if step.metadata else body
    target = step.target(datum, 0) if step.target else b""
    head = step.head(delivery, b"", "", 0, body, target).decode().split("\r\n")
    kept = [line for line in head[1:] if line.startswith(("Content-Type", "Prefer"))]
    return "\n".join([head[0], *kept, ""]) + (f"\n{body.decode().rstrip()}\n" if body else "")


def commands():
    found = set()
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        found |= {line.strip() for line in re.findall(r"^ {4,}(hookline .*)$", content, re.MULTILINE)}
        found |= {f"hookline {args}" for args in re.findall(r"compose run --rm worker (.*)$", content, re.MULTILINE)}
        found |= {f"hookline {args}" for args in re.findall(r"\.venv/bin/hookline ([^`\n]*)", content)}
    return sorted(found)


@pytest.mark.parametrize(
    ("what", "bound"),
    [
        ("records a turn", consume.TURN_RECORDS),
        ("open positions per worker", consume.UNSETTLED_MAX),
        ("records of a log held in memory", turns.HELD_RECORDS),
        ("records of a log held in memory", turns.HELD_BYTES // 2**20),
        ("records of a log looked back into and remembered", lines.LOOK_BACK),
        ("records looked at before an intake that braked goes on", brake.LOOK_RECORDS),
        ("spans that wait to be exported", outbox.QUEUE_SPANS_MAX),
        ("retry records held in memory", release.HELD_RECORDS),
        ("retry records held in memory", release.HELD_BYTES // 2**20),
        ("request body", payload.BODY_BYTES_MAX // 2**20),
        ("run state in a retry record", runstate.STATE_BYTES_MAX // 2**10),
        ("a graceful stop", int(drain.LAST_ACKS_S)),
    ],
)
def test_bounds_are_those_of_the_code(what, bound):
    [row] = re.findall(rf"^\| {what} \| (.*) \|.*\|$", text("architecture.md"), re.MULTILINE)
    assert f"{bound:,}" in re.findall(r"[0-9]+(?:,[0-9]{3})*", row)


@pytest.mark.parametrize("command", commands())
def test_commands_exist_with_these_arguments(command):
    cli.parser().parse_args(shlex.split(command.partition(" #")[0])[1:])


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text()))))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_site_builds_strictly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(str(DOCS / "_mkdocs" / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site"))
    build(config)
    for page in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?:)?//", page.read_text(encoding="utf-8"))
        assert not fetched, f"{page.name} loads something from elsewhere"


def test_generated_pages_are_up_to_date():
    script = [sys.executable, str(DOCS / "_mkdocs" / "generate.py"), "--check"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_relative_links_outside_the_site_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (ROOT / link).exists(), f"{page.name}: {link}"


# ------------------------------------------------------------------------------------------------------ complete lists


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("reference/failure-classes.md", model.FailureClass),
        ("reference/failure-classes.md", model.SkipReason),
        ("reference/failure-classes.md", model.LedgerReason),
    ],
)
def test_every_class_and_reason_has_a_row(page, words):
    rows = set(re.findall(r"^\| `(\w+)`", text(page), re.MULTILINE))
    assert {word.value for word in words} <= rows


def test_no_class_is_documented_that_does_not_exist():
    rows = set(re.findall(r"^\| `(\w+)`", text("reference/failure-classes.md"), re.MULTILINE))
    assert rows == {
        word.value for words in (model.FailureClass, model.SkipReason, model.LedgerReason) for word in words
    }


def test_a_class_no_code_gives_is_said_to_be_of_a_later_release():
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "pipeline").rglob("*.py"))
    for cls in model.FailureClass:
        (row,) = re.findall(rf"^\| `{cls.value}` \|.*$", text("reference/failure-classes.md"), re.MULTILINE)[:1]
        assert ("not in this release" in row) == (f"FailureClass.{cls.name}" not in code), cls


def test_every_metric_made_outside_the_list_is_documented():
    page = text("reference/metrics.md")
    for file in (ROOT / "pipeline").rglob("*.py"):
        for name in re.findall(r"\.(?:gauge|counts)\(\s*\"(hookline\.[a-z_.]+)\"", file.read_text(encoding="utf-8")):
            assert f"`{name}`" in page


def test_every_header_of_a_dead_letter_is_documented():
    page = text("reference/headers.md")
    source = Path(deadletter.__file__).read_text(encoding="utf-8")
    names = set(re.findall(r"\"([a-z]+(?:-[a-z]+)*)\": ", source))
    assert "delivery-id" in names
    for name in names | {deadletter.OVERSIZE.removeprefix(deadletter.PREFIX)}:
        assert f"`{deadletter.PREFIX}{name}`" in page, name


def test_every_own_topic_is_documented():
    page = text("reference/topics.md")
    source = (ROOT / "pipeline" / "config" / "topics.py").read_text(encoding="utf-8")
    for suffix in re.findall(r"return f\"\{group\}\.(\w+)", source):
        assert f"<group>.{suffix}" in page


def test_every_decision_is_in_the_index_and_the_navigation():
    index, navigation = text("decisions/index.md"), text("_mkdocs/mkdocs.yml")
    for page in DOCS.glob("decisions/0*.md"):
        assert page.name in index
        assert page.name in navigation


def test_the_tests_named_in_the_guarantees_exist():
    named = set(re.findall(r"`(test_\w+)`", text("guarantees.md")))
    assert named
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert named <= set(re.findall(r"def (test_\w+)\(", code))


# ------------------------------------------------------------------------------------------------------------ verdicts

POLICY = RetryPolicy(8, 86_400_000, retry_ambiguous=True, tiers_ms=(10_000,), on_status={})
WORD = {
    verdict.Rejected: "rejected",
    verdict.RetryAt: "retry",
    verdict.Hold: "hold",
    verdict.Delivered: "delivered",
    verdict.Dead: "dead",
}


def documented_statuses() -> dict[int, tuple[str, str]]:
    page = text("reference/verdicts.md").partition("## Without")[0]
    rows = re.findall(r"^\| (.*?) \| (\w+).*? \| (?:`(\w+)`)? ?\|$", page, re.MULTILINE)
    exact, classes, others = {}, {}, {}
    for statuses, word, cls in rows:
        for number in re.findall(r"\b\d{3}\b", statuses if "other" not in statuses else ""):
            exact[int(number)] = (word, cls)
        for hundred in re.findall(r"\b(\d)xx", statuses):
            (others if "other" in statuses else classes)[int(hundred)] = (word, cls)
    every = {status: (classes | others)[status // 100] for status in range(200, 600)}
    return every | exact


def test_the_table_of_failures_is_what_the_code_decides():
    page = text("reference/verdicts.md").partition("## Without")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .*? \| (yes|no) \| (\w+).*? \| (.*) \|$", page, re.MULTILINE)
    said = {
        (FailureClass(cls), sent == "yes", word)
        for sent, word, classes in rows
        for cls in re.findall(r"`(\w+)`", classes)
    }
    assert len(said) >= 6
    careful = RetryPolicy(8, 86_400_000, retry_ambiguous=False, tiers_ms=(10_000,), on_status={})
    for cls, sent, word in said:
        failure = Failure(cls, sent=sent, holds=word == "hold")
        rulings = [verdict.judge(failure, 1, policy, 0, 10**12, 0.0) for policy in (POLICY, careful)]
        expected = {"retry": ["retry", "retry"], "ambiguous": ["retry", "dead"], "hold": ["hold", "hold"]}[word]
        assert [WORD[type(ruling)] for ruling in rulings] == expected, (cls, sent)


def test_the_table_of_statuses_is_what_the_code_decides():
    for status, (word, cls) in documented_statuses().items():
        ruling = verdict.judge(Answer(status), 1, POLICY, 0, 10**12, 0.0)
        assert WORD[type(ruling)] == word, status
        if cls:
            assert ruling.cls is FailureClass(cls), status


REQUIREMENTS = re.findall(r"^\| S(\d+) \| (.+?) \| (.+) \|$", text("requirements.md"), re.MULTILINE)


def test_every_requirement_has_a_row():
    assert [int(number) for number, *_ in REQUIREMENTS] == list(range(1, 83))


@pytest.mark.parametrize(("number", "shown"), [(number, shown) for number, _, shown in REQUIREMENTS])
def test_what_shows_a_requirement_exists(number, shown):
    """A page (the strict build follows links), a test, a command: at least one of them."""
    files = re.findall(r"`(tests/[\w/.]+)`", shown)
    commands = [shlex.split(each) for each in re.findall(r"`hookline ([^`]+)`", shown)]
    assert files or commands or re.search(r"\]\([\w/.#-]+\)", shown), number
    assert [each for each in files if not (ROOT / each).exists()] == []
    known = cli.parser()._subparsers._group_actions[0].choices
    assert [words[0] for words in commands if words[0] not in known] == []


def test_what_the_bench_records_has_its_place_on_the_page() -> None:
    page = (DOCS / "benchmarks.md").read_text()
    places = re.findall(r"<!-- measured: (\w+) -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert [name for name, _ in places] == ["bench", *(each.name for each in ALL)]
    assert all("| " in text for _, text in places), "one was never recorded: see docs/benchmarks.md"
    assert "benchmarks.svg" in page
    assert (DOCS / "benchmarks.svg").read_text().startswith("<svg")
