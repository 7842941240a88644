"""`hookline topics` on a real Kafka: creates what is missing, once, and says what is wrong."""

from __future__ import annotations

import json

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from pipeline.adapters.kafka.admin import Admin
from pipeline.cli import main
from tests.support.folder import write_folder

ONE_LOG = ("control", "consent", "suppressions")


@pytest.fixture
def folder(tmp_path, kafka, unique):
    return write_folder(tmp_path, unique, f"{unique}.events", kafka.bootstrap)


@pytest.fixture
def topics(folder, capsys):
    """Run `hookline topics ...`; returns exit code and output (parsed with --json)."""

    def run(*args: str) -> tuple[int, object]:
        code = main(["topics", *args, "--config", str(folder)])
        out = capsys.readouterr().out
        return code, json.loads(out) if "--json" in args else out

    return run


def alter(kafka, topic: str, key: str, value: str) -> None:
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = AdminClient(kafka.settings)  # kept: a future of a collected client never ends
    client.incremental_alter_configs([resource])[resource].result(10)


def test_create_makes_what_is_missing_and_then_nothing(kafka, unique, topics):
    own = [f"{unique}.{name}" for name in ("retry.10s", "retry.1m", "dead", "outcomes", *ONE_LOG)]

    code, planned = topics("create", "--with-input", "3", "--dry-run", "--json")
    assert code == 0
    assert [each["topic"] for each in planned["created"]] == [f"{unique}.events", *own]
    assert not Admin(kafka.settings).topics(own)

    code, first = topics("create", "--with-input", "3", "--json")
    assert (code, first["created"], first["findings"]) == (0, planned["created"], [])

    code, again = topics("create")
    assert (code, again) == (0, "nothing to create\n")
    code, checked = topics("check", "--json")
    assert (code, checked["findings"]) == (0, [])
    assert {each["topic"]: each["partitions"] for each in checked["topics"]} == {
        f"{unique}.events": 3, **dict.fromkeys(own, 3), **{f"{unique}.{name}": 1 for name in ONE_LOG},
    }  # fmt: skip
    configs = Admin(kafka.settings).topics(own)[f"{unique}.retry.10s"].configs
    assert (configs["retention.ms"], configs["message.timestamp.type"]) == ("-1", "LogAppendTime")


def test_a_missing_input_is_not_created_unasked(kafka, unique, topics):
    code, out = topics("create", "--partitions", "2")
    assert code == 1
    assert f"{unique}.events: is missing" in out
    assert f"created {unique}.dead (2 partitions)" in out
    assert not Admin(kafka.settings).topics([f"{unique}.events"])


def test_check_names_everything_missing(unique, topics):
    code, out = topics("check")
    assert code == 1
    for name in ("events", "retry.10s", "retry.1m", "dead", "outcomes", *ONE_LOG):
        assert f"{unique}.{name}: is missing" in out
    assert "8 topics, 8 problems" in out


def test_check_says_what_deviates_and_create_leaves_it(kafka, unique, topics):
    topics("create", "--with-input", "1")
    alter(kafka, f"{unique}.retry.1m", "retention.ms", "60000")
    alter(kafka, f"{unique}.dead", "cleanup.policy", "compact")

    code, out = topics("check")

    assert code == 1
    assert f"{unique}.retry.1m: retention.ms is 60000" in out
    assert f"--entity-name {unique}.retry.1m --add-config retention.ms=-1" in out
    assert f"{unique}.dead: cleanup.policy is compact, must be delete" in out
    assert topics("create")[0] == 1
    assert Admin(kafka.settings).topics([f"{unique}.dead"])[f"{unique}.dead"].configs["cleanup.policy"] == "compact"


def test_own_topics_take_more_than_the_largest_input_record(kafka, unique, topics):
    kafka.create_topic(f"{unique}.events", 2, max_message_bytes="5000000", message_timestamp_type="CreateTime")
    code, _ = topics("create")
    assert code == 0
    size = Admin(kafka.settings).max_message_bytes([f"{unique}.dead"])
    assert size == {f"{unique}.dead": 5_000_000 + 131_072}
    assert topics("check")[1].startswith(f"note: {unique}.events: deletes by the producers' own timestamps")


def test_an_unreachable_broker_is_a_problem_not_a_traceback(tmp_path, unique, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.adapters.kafka.admin.REQUEST_S", 0.5)
    folder = write_folder(tmp_path, unique, "events", "127.0.0.1:1")
    assert main(["topics", "check", "--config", str(folder)]) == 1
    assert "Kafka did not answer" in capsys.readouterr().err
