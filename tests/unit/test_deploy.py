"""What users start from: the compose file, the image, its configuration, alert rules and dashboard."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import cli
from pipeline.app import supervisor

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONFIG = DEPLOY / "compose" / "config"
BIN = Path(sys.executable).parent


def load(path: Path):
    return YAML(typ="safe").load(path)


def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "_mkdocs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def services():
    return load(ROOT / "docker-compose.yml")["services"]


def test_the_compose_file_follows_the_compose_specification():
    checker = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"]
    done = subprocess.run(checker, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_passes_hadolint():
    done = subprocess.run([BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False,
                          timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_nobody_and_what_it_copies_exists():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 65532:65532"]
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignore, source


def test_ports_are_published_on_loopback_only(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_are_pinned(services):
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+\.\d+|:local$", service["image"]), name


def test_a_stop_is_given_longer_than_the_worker_takes(services):
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > supervisor.KILL_AFTER_S


def test_services_wait_for_what_they_need_to_be_healthy(services):
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[name]
    assert services["worker"]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}


def test_every_secret_of_the_configuration_is_set(services):
    wanted = {
        name
        for file in CONFIG.rglob("*.yaml")
        for name in re.findall(r"env:([A-Z_]+)", file.read_text())
    }  # fmt: skip
    assert wanted
    assert wanted <= services["worker"]["environment"].keys()


def test_destinations_of_the_compose_environment_are_services(services):
    for overlay in load(CONFIG / "env" / "compose.yaml")["destinations"].values():
        host = overlay["base_url"].removeprefix("http://").partition(":")[0]
        assert host in services


@pytest.mark.parametrize("env", ["compose", "host"])
def test_the_configuration_is_valid(env, capsys):
    assert cli.main(["validate", "--config", str(CONFIG), "--env", env]) == 0, capsys.readouterr().out


def test_commands_of_the_services_are_ours(services):
    for name in ("worker", "topics"):
        cli.parser().parse_args(services[name]["command"])


# ---------------------------------------------------------------------------------------- metrics, alerts, dashboard

LABELS = {
    f"hookline_{name}" for name in ("alert", "destination", "event_type", "journey", "outcome", "place", "result")
}


def exported() -> set[str]:
    pages = generate()
    exported_names = set()
    for metric in pages.metrics():
        name = pages.prometheus(metric)
        exported_names |= {f"{name}_bucket", f"{name}_count"} if metric.kind == "histogram" else {name}
    return exported_names


def used(expression: str) -> set[str]:
    return set(re.findall(r"\bhookline_[a-z_]+", expression)) - LABELS


def test_the_dashboard_shows_metrics_that_are_exported():
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "hookline.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    shown = set().union(*map(used, expressions))
    assert shown <= exported()
    never_shown = {name.removesuffix("_bucket").removesuffix("_count") for name in exported() - shown}
    assert never_shown <= {name.removesuffix("_bucket") for name in shown}
    sources = load(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"} <= {
        source["uid"] for source in sources
    }


def test_alerts_watch_metrics_that_are_exported_and_name_a_page():
    rules = [
        rule for group in load(DEPLOY / "prometheus" / "rules" / "hookline.yml")["groups"] for rule in group["rules"]
    ]
    assert rules
    for rule in rules:
        assert used(rule["expr"]) <= exported(), rule["alert"]
        assert (ROOT / rule["annotations"]["runbook"]).is_file(), rule["alert"]


def test_every_alert_is_tried():
    rules = (DEPLOY / "prometheus" / "rules" / "hookline.yml").read_text()
    tried = (DEPLOY / "prometheus" / "tests" / "hookline.yml").read_text()
    for alert in re.findall(r"alert: (\w+)", rules):
        assert f"alertname: {alert}" in tried
