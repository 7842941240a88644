"""Writes the pages that are made from the code: docs/reference/schemas.md and the tables of metrics.md.

python docs/_mkdocs/generate.py           writes them
python docs/_mkdocs/generate.py --check   exit code 1 if one is out of date (tests/unit/test_docs.py runs this)
"""

# ruff: noqa: INP001 - a script, not a package
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pipeline.adapters.telemetry import names
from pipeline.ports import LATENCY_BUCKETS_MS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "reference"

INTRODUCTION = """\
# Schemas

<!-- Generated from schemas/*.avsc by docs/_mkdocs/generate.py: change those, then run it. -->

Hookline's own Avro schemas. `LifecycleEvent` is the format events may come in without a mapping; `DeliveryOutcome` and
`Ledger` are what `<group>.outcomes` holds, `Consent` and `Suppression` what the [tables](tables.md) are made of,
`Remembered` what is on `<group>.memory`. They are written in Avro single-object encoding: the bytes `C3 01`, the
schema's CRC-64-AVRO fingerprint (little endian), and the record.
"""

FILES = (
    "lifecycle_event.avsc", "outcome.avsc", "ledger.avsc", "consent.avsc", "suppression.avsc", "memory.avsc",
)  # fmt: skip


def schemas_page() -> str:
    """Return the page of all schemas, field by field."""
    parts = [INTRODUCTION]
    for file in FILES:
        schema = json.loads((ROOT / "schemas" / file).read_text(encoding="utf-8"))
        parts.append(f"## {schema['name']}\n\n`schemas/{file}`\n\n{schema['doc']}\n\n{_table(schema, '')}")
    return "\n".join(parts)


def _table(record: dict[str, Any], prefix: str) -> str:
    rows = ["| field | type | |", "|---|---|---|", *_rows(record, prefix)]
    return "\n".join(rows) + "\n"


def _rows(record: dict[str, Any], prefix: str) -> list[str]:
    rows = []
    for field in record["fields"]:
        name, kind = prefix + field["name"], field["type"]
        doc = field["doc"].replace("|", "\\|")
        if "hookline.class" in field:
            doc += f" Class: `{field['hookline.class']}`."
        default = f" = {json.dumps(field['default'])}" if "default" in field else ""
        rows.append(f"| `{name}` | {_type(kind)}{default} | {doc} |")
        nested = kind.get("items", kind.get("values", kind)) if isinstance(kind, dict) else kind
        if isinstance(nested, dict) and nested.get("type") == "record":
            rows += _rows(nested, f"{name}[]." if kind is not nested else f"{name}.")
    return rows


def _type(kind: Any) -> str:
    """Write an Avro type in a few words."""
    if isinstance(kind, list):
        return " or ".join(_type(branch) for branch in kind)
    if isinstance(kind, dict) and "logicalType" in kind:
        scale = f"({kind['precision']}, {kind['scale']})" if kind["logicalType"] == "decimal" else ""
        return f"{kind['type']}, {kind['logicalType']}{scale}"
    match kind:
        case {"type": "array"}:
            text = f"array of {_type(kind['items'])}"
        case {"type": "map"}:
            text = f"map of {_type(kind['values'])}"
        case {"type": "enum"}:
            text = "enum: " + ", ".join(kind["symbols"])
        case {"type": "record"}:
            text = f"record {kind['name']}"
        case _:
            text = str(kind)
    return text


# ------------------------------------------------------------------------------------------------------- metrics

METRICS = """\
# Metrics

<!-- Generated from pipeline/adapters/telemetry/names.py by docs/_mkdocs/generate.py: change that, then run it. -->

Exported by OTLP every `telemetry.interval` (10 s by default; `OTEL_METRIC_EXPORT_INTERVAL` wins), to the metrics
endpoint of `telemetry.endpoint` or of OpenTelemetry's environment variables. Without one nothing is exported. No
attribute is personal. The Prometheus names are those its OTLP receiver makes.

| metric | in Prometheus | kind, unit | attributes | meaning |
|---|---|---|---|---|
"""

AFTER_METRICS = """
`hookline.outcome` is `delivered`, `defaulted`, `rejected`, `skipped` or `dead`: final, each counted once it is settled,
whether or not there was an attempt. Hand-overs are in the outcomes topic; parking has its own counter. A delivery
whose step is no longer in the configuration is dead without a destination.
`error.type` is a [failure class](failure-classes.md).

The histograms' bounds are {buckets} s. Their sums are not exported: there are percentiles and counts, but no means.
"""

_SUFFIX = {"s": "_seconds", "ms": "_milliseconds", "By": "_bytes"}


def prometheus(metric: names.Metric) -> str:
    """Return the name Prometheus' OTLP receiver gives a metric (strategy UnderscoreEscapingWithSuffixes)."""
    name = metric.name.replace(".", "_") + _SUFFIX.get(metric.unit, "")
    if metric.kind == "counter":
        return name + "_total"
    return name + "_ratio" if metric.unit == "1" else name


def metrics() -> list[names.Metric]:
    """Return every metric: those `names` declares, in its order."""
    return [metric for metric in vars(names).values() if isinstance(metric, names.Metric)]


def metrics_page() -> str:
    """Return the page of all metrics."""
    rows = [
        f"| `{each.name}` | `{prometheus(each)}` | {each.kind}, {each.unit} | "
        f"{', '.join(f'`{name}`' for name in each.attributes) or 'none'} | {each.meaning} |"
        for each in metrics()
    ]
    buckets = ", ".join(f"{bound / 1000:g}" for bound in LATENCY_BUCKETS_MS)
    return METRICS + "\n".join(rows) + "\n" + AFTER_METRICS.format(buckets=buckets)


def main(arguments: list[str]) -> int:
    """Write the pages, or only compare."""
    code = 0
    for file, content in (("schemas.md", schemas_page()), ("metrics.md", metrics_page())):
        page = PAGES / file
        if "--check" not in arguments:
            page.write_text(content, encoding="utf-8")
        elif not page.is_file() or page.read_text(encoding="utf-8") != content:
            sys.stderr.write(f"docs/reference/{file} is out of date: run python docs/_mkdocs/generate.py\n")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
