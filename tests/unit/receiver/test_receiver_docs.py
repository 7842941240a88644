"""The page for an endpoint's author shows the examples as they are run, and the bounds and statuses of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.receiver import receive, schema, seen, signatures, values

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "howto" / "write-an-endpoint.md").read_text(encoding="utf-8")
EXAMPLES = sorted((DOCS / "examples" / "receivers").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_stands_on_the_page_as_it_is_run(example):
    shown = dict(re.findall(r"<!-- same as: (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
    code = example.read_text(encoding="utf-8")
    assert shown[str(example.relative_to(DOCS))] == code
    assert len(code.splitlines()) <= 70, "an example is read in a minute"


def test_every_reason_is_on_the_page_with_its_status():
    rows = re.findall(r"^\| (\d{3}) \| (`.*?`) \|", PAGE, re.MULTILINE)
    told = {(int(status), reason) for status, reasons in rows for reason in re.findall(r"`(\w+)`", reasons)}
    refusals = [each for each in vars(values).values() if isinstance(each, values.Refused)]
    assert told == {(each.status, each.reason.value) for each in [*refusals, values.invalid(())]}


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("The timestamp may be five minutes off", signatures.TOLERANCE_S == 300),
        (f"{seen.ENTRIES_MAX:,} IDs (`entries_max`), three days (`age_s`)", seen.AGE_S == 3 * 86_400),
        (f"a lease of {seen.LEASE_S} s (`lease_s`)", True),
        (f"over {receive.BODY_S_MAX:g} s (`body_s_max`)", True),
        ("over 1 MiB (`body_bytes_max`)", receive.BODY_BYTES_MAX == 2**20),
        (f"over {receive.HANDLE_S_MAX:g} s (`handle_s_max`)", True),
        ("of a body over 16 KiB only the first", schema.EXPLAINED_BYTES_MAX == 16 * 1024),
    ],
)
def test_bounds_are_those_of_the_code(text, bound):
    assert bound
    assert text in " ".join(PAGE.split())
