"""The rules a reader relies on to find things: where tests are, how long files and functions get, what names say."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "tests" / "unit"
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "base", "common", "misc", "stuff"}
TEXT = {".py", ".md", ".yml", ".yaml", ".toml", ".json", ".avsc", ".xml", ".txt", ".cfg", ".sh", ".html", ""}

# Put together here, or this file would break its own rules.
BANNED_TEXT = {
    "unfinished": re.compile(
        r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "NotImplemented" + "Error"]) + r")\b"
    ),
    "a path of one machine": re.compile(
        "|".join([r"/wo" + r"rk/", r"/ro" + r"ot/", r"\.py" + r"env/", r"/home/" + r"[a-z]+/"])
    ),
    "a package registry's host": re.compile(r"\b(pypi\." + r"org|repo1?\.maven|npmjs\." + r"org|proxy\.golang)"),
}

READ_WHOLE = ("unit/config/test_load.py", "declares keys: read as part of whole folders")
ELSEWHERE = {
    "adapters/kafka/admin": ("integration/test_admin.py", "what it asks only a real broker can answer"),
    "adapters/kafka/compacted": ("contract/test_tables.py", "follows topics of a real Kafka"),
    "adapters/kafka/logs": ("integration/test_order.py", "what it reads only a real broker can hold"),
    "adapters/kafka/place": ("integration/test_progress.py", "asks a real broker"),
    "adapters/kafka/producer": ("contract/test_producer.py", "shares its contract with the fake"),
    "adapters/kafka/follower": ("contract/test_follower.py", "shares its contract with the fake"),
    "adapters/kafka/reader": ("integration/test_reader.py", "what it reads only a real broker can hold"),
    "adapters/kafka/starts": ("integration/test_progress.py", "asks a real broker"),
    "adapters/kafka/source": ("integration/test_source.py", "polls a real broker"),
    "adapters/alerts": ("contract/test_notifier.py", "shares its contract with the fake"),
    "testing/notifier": ("contract/test_notifier.py", "the fake of the contract"),
    "adapters/http/connection": ("contract/test_sender.py", "shares its contract with the fake"),
    "adapters/http/sender": ("contract/test_sender.py", "shares its contract with the fake"),
    "adapters/kafka/feed": ("integration/test_produce.py", "feeds a real broker"),
    "adapters/kafka/embedded": ("integration/test_demo.py", "is a broker itself: the demo's"),
    "adapters/kafka/control": ("integration/test_switches.py", "follows a topic of a real broker"),
    "adapters/http/probe": ("integration/test_destination_test.py", "looks at real servers"),
    "app/switchboard": ("integration/test_switches.py", "wires real parts together"),
    "cli/erase": ("integration/test_erase.py", "writes to a real broker"),
    "app/tables": ("integration/test_tables.py", "wires real parts together"),
    "cli/backlog": ("integration/test_switches.py", "asks a real broker"),
    "cli/destination": ("integration/test_switches.py", "tells real workers"),
    "cli/pause": ("integration/test_switches.py", "tells real workers"),
    "cli/switching": ("integration/test_switches.py", "tells real workers"),
    "adapters/kafka/newest": ("integration/test_keys.py", "what it reads only a real broker can hold"),
    "app/keys": ("integration/test_keys.py", "wires real parts together"),
    "app/memory": ("integration/test_memory.py", "wires real parts together"),
    "app/heartbeat": ("integration/test_worker.py", "wires real parts together"),
    "app/retention": ("integration/test_retention.py", "deletes from a real broker"),
    "app/supervisor": ("integration/test_faults.py", "starts and replaces real processes"),
    "app/serve": ("integration/test_reload.py", "runs real workers"),
    "app/worker": ("integration/test_worker.py", "wires real parts together"),
    "cli/account": ("integration/test_account.py", "asks a real broker"),
    "cli/backtest": ("integration/test_backtest.py", "reads a real broker"),
    "cli/bench": ("integration/test_bench.py", "measures real parts"),
    "cli/dead": ("integration/test_dead.py", "asks a real broker"),
    "cli/demo": ("integration/test_demo.py", "is run as a user runs it"),
    "cli/run": ("integration/test_worker.py", "is run as a user runs it"),
    "cli/status": ("integration/test_status.py", "asks a real broker"),
    "cli/topics": ("integration/test_topics.py", "asks a real broker"),
    "config/batch": ("unit/config/test_operation.py", "declares keys of an operation"),
    "config/fragments": READ_WHOLE,
    "config/mapping": READ_WHOLE,
    "config/models": READ_WHOLE,
    "config/plain": ("unit/cli/test_lines.py", "what lines of JSON are made into data with"),
    "config/policy": READ_WHOLE,
    "config/section": READ_WHOLE,
    "app/measures": ("integration/test_tracing.py", "a real collector gets what is exported"),
    "app/taking": ("integration/test_crashes.py", "wires real parts together"),
    "run/drain": ("unit/run/test_consume.py", "an intake drains what is revoked"),
    "run/lookup": ("unit/run/test_consume.py", "partitions are held while it looks"),
    "run/seat": ("unit/run/test_dispatch.py", "a lane's seats: every test of a lane goes through them"),
    "testing/fakes": ("contract/test_sender.py", "a fake is proved by the contract of what it stands for"),
    "testing/follower": ("contract/test_follower.py", "a fake is proved by the contract of what it stands for"),
    "testing/marks": ("contract/test_tables.py", "a fake is proved by the contract of what it stands for"),
    "testing/simulation": ("simulation/test_planted_bugs.py", "what it is good for: bugs that it must find"),
    "testing/stage/switches": ("simulation/test_planted_bugs.py", "wires real parts together, as app/switchboard"),
    "testing/registry": ("contract/test_schemas.py", "a fake is proved by the contract of what it stands for"),
}
"""Modules proved by another test: `pipeline/<key>.py` or the package's own files, the test under tests/, and why."""

OF_THE_REPOSITORY = {"chaos_figures", "chaos_order", "layout", "contracts", "docs", "compose", "deploy"}
"""Unit tests directly in tests/unit that check the repository instead of a module."""


def test_every_module_with_logic_has_its_unit_test():
    offenders = [
        f"pipeline/{name}: no {unit_tests(name)[0].relative_to(ROOT)}"
        for name, tree in modules().items()
        if not {name, str(Path(name).parent)} & ELSEWHERE.keys()
        and has_logic(tree)
        and not any(place.exists() for place in unit_tests(name))
    ]
    assert not offenders, report(offenders)


def test_every_unit_test_has_its_module():
    names = set(modules()) | {str(Path(name).parent) for name in modules()}
    offenders = []
    for path in UNIT.rglob("test_*.py"):
        place, subject = path.relative_to(UNIT).parent, path.stem.removeprefix("test_")
        known = {Path(name).name for name in names if Path(name).parent == place}
        if place == Path() and subject in OF_THE_REPOSITORY:
            continue
        # test_decode_resolution.py belongs to decode; in adapters/http/, test_http_internals.py to the package.
        if not any(subject == name or subject.startswith(f"{name}_") for name in {*known, place.name}):
            offenders.append(f"{path.relative_to(ROOT)}: no such module in pipeline/{place}")
    assert not offenders, report(offenders)


def test_what_is_proved_elsewhere_is_there():
    offenders = [f"{name}: no such module" for name in ELSEWHERE if name not in modules()]
    offenders += [
        f"{name}: no tests/{test}" for name, (test, _) in ELSEWHERE.items() if not (ROOT / "tests" / test).exists()
    ]
    assert not offenders, report(offenders)


def test_every_module_says_what_it_is_for():
    offenders = [f"pipeline/{name}.py" for name, tree in modules().items() if tree.body and not ast.get_docstring(tree)]
    assert not offenders, report(offenders)


def test_files_can_be_read_in_one_sitting():
    offenders = []
    for path in sources():
        lines = len(path.read_text().splitlines())
        if lines > FILE_LINES_MAX:
            offenders.append(f"{path.relative_to(ROOT)}: {lines} lines, at most {FILE_LINES_MAX}")
    assert not offenders, report(offenders)


def test_functions_fit_on_a_screen():
    offenders = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    offenders.append(f"{where} {node.name}: {lines} lines, at most {FUNCTION_LINES_MAX}")
    assert not offenders, report(offenders)


def test_names_say_something():
    offenders = [
        str(path.relative_to(ROOT)) for path in sources() if BANNED_NAMES.intersection((path.stem, path.parent.name))
    ]
    assert not offenders, report(offenders)


def test_nothing_unfinished_and_no_place_that_others_lack():
    offenders = []
    for path in files():
        if path.suffix not in TEXT:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            offenders += [
                f"{path.relative_to(ROOT)}:{number}: {what}: {found[0]}"
                for what, pattern in BANNED_TEXT.items()
                if (found := pattern.search(line))
            ]
    assert not offenders, report(offenders)


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its path without `pipeline/` and `.py`; a package's `__init__` by the package's."""
    found = {}
    for path in (ROOT / "pipeline").rglob("*.py"):
        name = path.relative_to(ROOT / "pipeline").with_suffix("")
        if name.parts[0] == "examples":  # a link to docs/examples: programs beside the product
            continue
        name = name.parent if name.name == "__init__" else name
        if name != Path():
            found[str(name)] = ast.parse(path.read_text())
    return found


def unit_tests(name: str) -> list[Path]:
    """Where the unit test of a module may be: at its mirror image, or with the package it is a part of."""
    folder, module = UNIT / Path(name).parent, leaf(name)
    places = [
        folder / f"test_{module}.py",
        folder / f"test_{folder.name}_{module}.py",
        folder / module / f"test_{module}.py",
    ]
    package = Path(name).parent
    if len(package.parts) > 1:
        places.append(UNIT / package.parent / f"test_{package.name}.py")
        places.append(UNIT / package.parent / f"test_{package.name}_{module}.py")
    return places


def leaf(name: str) -> str:
    """Last part of a module's path."""
    return name.rpartition("/")[2]


def has_logic(tree: ast.Module) -> bool:
    """Whether any function decides something: values, errors and ports only say what there is."""
    decisions = ast.If | ast.IfExp | ast.For | ast.While | ast.Try | ast.Match | ast.comprehension | ast.BoolOp
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return any(isinstance(node, decisions) for function in functions for node in ast.walk(function))


def files() -> list[Path]:
    """Every file that is in the repository or about to be."""
    git = shutil.which("git")
    asked = [git or "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if git and (ROOT / ".git").exists():
        listed = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        return [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    folders = ["pipeline", "tests", "docs", "deploy", "schemas", ".ci"]
    inside = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    return [path for path in [*ROOT.glob("*"), *inside] if path.is_file()]


def sources() -> list[Path]:
    """Every Python file."""
    return [path for path in files() if path.suffix == ".py"]


def report(offenders: list[str]) -> str:
    """All of them, one a line."""
    return "\n" + "\n".join(sorted(offenders))
