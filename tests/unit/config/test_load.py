"""A folder becomes a configuration with every default filled in, or all of its problems at once."""

from __future__ import annotations

import copy
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.config import files
from pipeline.config.load import _Loading, kafka_settings, load
from pipeline.config.models import Place
from pipeline.config.secrets import Secrets
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.config.conftest import Folder

CDNOW = pathlib.Path("tests/data/config/cdnow")


def test_defaults(folder: Folder) -> None:
    config = folder.load()
    assert (config.group, config.env, config.mode, config.folder) == ("shop", None, "live", folder.root)
    assert [tier.name for tier in config.retry_tiers] == ["10s", "1m", "10m", "1h", "6h"]
    assert [tier.ms for tier in config.retry_tiers] == [10_000, 60_000, 600_000, 3_600_000, 21_600_000]
    assert config.registry is None
    assert (config.telemetry.sample, config.telemetry.endpoint) == (0.01, None)
    assert config.consent.event_flag_max_age_ms == 86_400_000
    assert (config.retention.dead_ms, config.retention.outcomes_ms) == (14 * 86_400_000, 30 * 86_400_000)
    crm = config.destinations["crm"]
    assert (crm.timeout_ms, crm.response_bytes_max, crm.auth, crm.sign, crm.tls.ca) == (
        10_000,
        65_536,
        None,
        None,
        None,
    )
    assert (crm.limits.rate, crm.limits.concurrency, crm.limits.queue) == (None, (64, True), 1_000)
    assert (crm.breaker.failures, crm.breaker.of) == (0.5, 20)
    assert (crm.breaker.open_ms, crm.breaker.open_max_ms) == (30_000, 600_000)
    assert (crm.retry.max_attempts, crm.retry.max_age_ms, crm.retries_ambiguous) == (8, 86_400_000, True)
    assert (crm.operations["note"].method, crm.operations["note"].body) == ("POST", "json")
    welcome = config.journeys["welcome"]
    assert (welcome.file, welcome.status, welcome.trigger.when) == ("journeys/welcome.yaml", "live", None)
    assert (welcome.basis_of(welcome.steps[0]), welcome.purpose_of(welcome.steps[0])) == ("contract", "")
    assert welcome.steps[0].reaches is None


def test_a_journey_is_a_draft_unless_it_says_otherwise(folder: Folder) -> None:
    folder.change("journeys/welcome.yaml", "status: live\n", "")
    assert folder.load().journeys["welcome"].status == "draft"


@pytest.mark.parametrize(
    ("idempotency", "drops", "header", "retries"),
    [
        ("delivery_id", True, "", True),
        ("header:Idempotency-Key", True, "Idempotency-Key", True),
        ("none", False, "", False),
    ],
)
def test_idempotency(folder: Folder, idempotency: str, drops: bool, header: str, retries: bool) -> None:  # noqa: FBT001
    folder.change("destinations/crm.yaml", "delivery_id", idempotency)
    crm = folder.load().destinations["crm"]
    assert (crm.drops_repeats, crm.idempotency_header, crm.retries_ambiguous) == (drops, header, retries)


def test_values_are_frozen(folder: Folder) -> None:
    config = folder.load()
    with pytest.raises(ValueError, match="frozen"):
        config.journeys["welcome"].steps[0].name = "other"  # type: ignore[misc]


def test_where_things_stand(folder: Folder) -> None:
    config = folder.load()
    assert config.where("journeys/welcome.yaml", ("steps", 0, "payload", "customer")) == Place(
        "journeys/welcome.yaml", 15, 17
    )
    problem = config.problem("journeys/welcome.yaml", ("steps", 0, "payload", "customer"), "is wrong", "so")
    assert str(problem) == "journeys/welcome.yaml:15:17: steps[0].payload.customer: is wrong (so)"


def test_every_problem_of_every_file_at_once(folder: Folder) -> None:
    folder.change("hookline.yaml", "group: shop", "group: a/b")
    folder.change("hookline.yaml", "purposes:", "purpose:")
    folder.change("journeys/welcome.yaml", "status: live", "status: lively")
    folder.change("journeys/welcome.yaml", "max_age: 2h", "max_age: 2 hours")
    folder.change("journeys/welcome.yaml", "kind: update", "kind: enrichment")
    folder.change("journeys/welcome.yaml", "goal: Say hello\n", "")
    folder.change("destinations/crm.yaml", "idempotency: delivery_id", "idempotency: maybe")
    folder.add("destinations/crm.yaml", "timeout: 10\nowner: twice\n")
    folder.write("destinations/mail.yaml", "")
    folder.write("journeys/old.yml", "")
    assert [str(each) for each in folder.problems()] == [
        "destinations/crm.yaml:5:14: idempotency: must be delivery_id, header:NAME or none",
        "destinations/crm.yaml:8:10: timeout: needs a unit (such as 800ms, 2s, 10m, 1h or 7d)",
        "destinations/crm.yaml:9:1: owner: is here twice (first on line 2)",
        "destinations/mail.yaml:1:1: the file is empty",
        "hookline.yaml:1:8: group: must be a consumer group of letters, digits and . _ -",
        "hookline.yaml:7:1: purpose: there is no such key (did you mean purposes)",
        "journeys/old.yml: is not a .yaml file (rename it to .yaml)",
        "journeys/welcome.yaml:1:1: goal: is required",
        "journeys/welcome.yaml:2:9: status: must be one of: draft, shadow, live, paused (did you mean live)",
        "journeys/welcome.yaml:8:12: trigger.max_age: must be a duration such as 800ms, 2s, 10m, 1h or 7d",
        "journeys/welcome.yaml:12:11: steps[0].kind: must be one of: update, enrich, decide, record (did you mean enrich)",  # noqa: E501
    ]


def test_the_name_is_the_file_name(folder: Folder) -> None:
    folder.change("journeys/welcome.yaml", "journey: welcome", "journey: hello")
    assert folder.problem() == (
        "journeys/welcome.yaml:1:10: journey: must equal the file name (write welcome, or rename it)"
    )


@pytest.mark.parametrize("env", [None, "test"])
def test_the_cdnow_configuration_is_valid(env: str | None) -> None:
    config = load(CDNOW, env)
    crm = config.destinations["crm"]
    assert crm.base_url == ("env:CRM_URL" if env else "https://crm.cdnow.example")
    assert crm.private_networks == (("127.0.0.0/8", "::1/128") if env else ())
    assert [step.kind for step in config.journeys["purchase_thanks"].steps] == ["update", "record"]


def test_kafka_settings(folder: Folder) -> None:
    folder.change(
        "hookline.yaml",
        "  bootstrap: env:KAFKA_BOOTSTRAP\n",
        """\
  bootstrap: env:KAFKA_BOOTSTRAP
  security.protocol: SASL_SSL
  sasl.mechanism: SCRAM-SHA-512
  sasl.username: hookline
  sasl.password: file:secrets/kafka
  ssl.ca.location: file:certs/ca.pem
  ssl.certificate.pem: file:certs/ca.pem
  socket.keepalive.enable: true
  message.max.bytes: 2000000
""",
    )
    folder.write("secrets/kafka", "pa ss\n").write("certs/ca.pem", "PEM\n")
    config = folder.load()
    assert kafka_settings(config, Secrets(config.folder, {"KAFKA_BOOTSTRAP": "broker:9092"})) == {
        "bootstrap.servers": "broker:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "hookline",
        "sasl.password": "pa ss",
        "ssl.ca.location": str(folder.root / "certs/ca.pem"),
        "ssl.certificate.pem": "PEM",
        "socket.keepalive.enable": "true",
        "message.max.bytes": "2000000",
    }


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("sasl.password: hunter2", "must be a reference to a secret, never the secret itself (env:NAME or file:PATH)"),
        ("ssl.key.pem: hunter2", "must be a reference to a secret, never the secret itself (env:NAME or file:PATH)"),
        (
            "ssl.key.password: hunter2",
            "must be a reference to a secret, never the secret itself (env:NAME or file:PATH)",
        ),
        ("group.id: hunter2", "is no Kafka setting that is passed through"),
        ("enable.auto.commit: true", "is no Kafka setting that is passed through"),
        ("ssl.ca.location: [hunter2]", "must be text or a number"),
    ],
)
def test_kafka_settings_that_are_refused(folder: Folder, setting: str, expected: str) -> None:
    problem = folder.change("hookline.yaml", "  bootstrap:", f"  {setting}\n  bootstrap:").problem()
    assert problem.startswith(f"hookline.yaml:3:{len(setting.partition(':')[0]) + 5}: kafka.")
    assert expected in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize("written", ["consumer", "classic"])
def test_how_workers_share_partitions_is_ours_to_say_and_may_differ_by_environment(
    folder: Folder, written: str
) -> None:
    assert folder.load().kafka.group_protocol == "classic"
    folder.change("hookline.yaml", "  bootstrap:", f"  group_protocol: {written}\n  bootstrap:")
    config = folder.load()
    assert config.kafka.group_protocol == written
    assert kafka_settings(config, Secrets(config.folder, {"KAFKA_BOOTSTRAP": "b:1"})) == {"bootstrap.servers": "b:1"}
    folder.write("env/test.yaml", "mode: live\nkafka:\n  group_protocol: consumer\n")
    assert folder.load("test").kafka.group_protocol == "consumer"


def test_another_way_to_share_partitions_is_refused(folder: Folder) -> None:
    problem = folder.change("hookline.yaml", "  bootstrap:", "  group_protocol: eager\n  bootstrap:").problem()
    assert problem.startswith("hookline.yaml:3:19: kafka.group_protocol")
    assert "consumer" in problem


def test_every_missing_reference_of_the_brokers_at_once(folder: Folder) -> None:
    folder.change("hookline.yaml", "  bootstrap:", "  sasl.password: file:none\n  bootstrap:")
    config = folder.load()
    with pytest.raises(ConfigError) as caught:
        kafka_settings(config, Secrets(config.folder, {}))
    assert str(caught.value).splitlines() == [
        "hookline.yaml:4:14: kafka.bootstrap: env:KAFKA_BOOTSTRAP is not set (it is an environment variable)",
        (
            "hookline.yaml:3:18: kafka.sasl.password: file:none is not there "
            "(paths are relative to the configuration folder)"
        ),
    ]


@pytest.mark.parametrize("line", ["registry: {url: {}}", "telemetry: {endpoint: {}}"])
def test_service_urls_carry_no_credentials(folder: Folder, line: str) -> None:
    problem = folder.add("hookline.yaml", line.replace("{}", "https://u:hunter2@x.example") + "\n").problem()
    assert problem.endswith("must not carry credentials; use auth")


def _paths(node: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(node, dict):
        for key, part in node.items():
            yield from _paths(part, (*path, key))
    elif isinstance(node, list):
        for index, part in enumerate(node):
            yield from _paths(part, (*path, index))


def _changes(tree: object) -> Iterator[tuple[str, Any]]:
    """Put something wrong in each place of a file, one at a time."""
    for path in _paths(tree):
        for wrong in ("hunter2", "${hunter2}", ["hunter2"], {"hunter2?": "hunter2"}, 7.25, None, True):
            changed = copy.deepcopy(tree)
            node: Any = changed
            for part in path[:-1]:
                node = node[part]
            node[path[-1]] = wrong
            yield ".".join(map(str, path)), changed


@pytest.mark.parametrize(
    "file", ["hookline.yaml", "journeys/purchase_thanks.yaml", "destinations/crm.yaml", "env/test.yaml"]
)
def test_whatever_is_written_wherever_no_problem_repeats_it(file: str) -> None:
    root = pathlib.Path("tests/data/config/cdnow")
    read = files.read(root)
    refused = 0
    for path, tree in _changes(read.trees[file]):
        changed = dataclasses.replace(read, trees={**read.trees, file: tree})
        config, problems = _Loading(changed, root).config("test" if file.startswith("env/") else None)
        assert (config is None) == bool(problems), path
        refused += bool(problems)
        for problem in problems:
            assert "hunter2" not in problem.message + problem.hint, (path, str(problem))
            assert problem.line > 0, (path, str(problem))
    assert refused > 20
