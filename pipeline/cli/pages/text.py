"""Writes the pages of `hookline pages`: Markdown, with diagrams that GitHub, GitLab and MkDocs draw (Mermaid)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipeline.cli.pages import MARK, effects, kept
from pipeline.config import units
from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeline.config.journey import JourneyConfig, StepConfig
    from pipeline.config.models import Config
    from pipeline.config.sent import Sent

USUAL: Final = ("delivered", "defaulted")
"""Outcomes that `after: NAME` means; a diagram leaves them out."""
OWN: Final = "What Hookline itself keeps"
"""Heading, and by it the link from the pages of journeys."""
CHARS_MAX: Final = 300
"""How much of an expression a table shows."""


@value
class Known:
    """A configuration, as it is written (parsed YAML by file), and what it sends."""

    config: Config
    trees: Mapping[str, Any]
    sent: Sequence[Sent]


def index(known: Known) -> str:
    """Return the first page: every journey and destination."""
    config = known.config
    journeys = [
        (f"[{name}](journeys/{name}.md)", each.status, each.goal, each.owner, each.category, each.basis)
        for name, each in sorted(config.journeys.items())
    ]
    destinations = [
        (f"[{name}](destinations/{name}.md)", each.owner, _classes(each.receives), *_keeps(known, name))
        for name, each in sorted(config.destinations.items())
    ]
    return _page(
        f"What {config.group} does",
        "## Journeys\n",
        *_table(("journey", "status", "goal", "owner", "category", "basis"), journeys),
        "## Destinations\n",
        *_table(("destination", "owner", "may receive", "region", "kept"), destinations),
        "## Cause and effect\n",
        *_table(effects.HEAD, effects.rows(config, known.sent)),
        f"## {OWN}\n",
        *_table(kept.HEAD, kept.rows(config)),
        "The topics as a contract: [AsyncAPI](topics.asyncapi.json).\n",
    )


def journey(known: Known, name: str) -> str:
    """Return the page of a journey."""
    of = known.config.journeys[name]
    tree = known.trees[of.file]
    facts = [
        ("owner", of.owner),
        ("status", of.status),
        ("category", of.category),
        ("basis", of.basis + (f", purpose {of.purpose}" if of.purpose else "")),
        ("starts with", ", ".join(of.trigger.events)),
        ("if", _code(of.trigger.when)),
        ("not older than", units.duration_text(of.trigger.max_age_ms)),
        *((key.replace("_", " "), _written(tree[key])) for key in ("rollout", "holdout", "cancel_on") if key in tree),
        ("counts as a success", _written(tree["success"]) if "success" in tree else ""),
    ]
    sends = [
        (each.step, _call(each.call), f"`{each.field}`", f"`{each.source}`", each.cls, *_keeps(known, each.destination))
        for each in known.sent
        if each.journey == name
    ]
    return _page(
        name,
        f"{of.goal}\n",
        *_table(("", ""), [each for each in facts if each[1]]),
        "## Steps\n",
        *_diagram(of),
        *_table(
            ("step", "kind", "does", "only if", "reaches", "basis", "limits", "when it fails"),
            [_step_row(of, step) for step in of.steps],
        ),
        "## What is sent\n",
        *_table(("step", "to", "field", "from", "class", "region", "kept"), sends),
        f"Events and outcomes stay in our own topics, too: [{OWN}](../index.md#{OWN.lower().replace(' ', '-')}).\n",
    )


def destination(known: Known, name: str) -> str:
    """Return the page of a destination."""
    of = known.config.destinations[name]
    region, kept = _keeps(known, name)
    facts = [
        ("owner", of.owner),
        ("where", _where(of.base_url)),
        ("may receive", _classes(of.receives)),
        ("region", region),
        ("kept", kept),
        ("drops repeats", of.idempotency),
        (
            "lets us in by",
            next((key for key in type(of.auth).model_fields if getattr(of.auth, key)), "") if of.auth else "",
        ),
        ("at most", f"{of.limits.rate:g}/s" if of.limits.rate else ""),
    ]
    operations = [
        (
            f"`{key}`",
            each.method,
            f"`{each.path or '/'}`",
            _contract(each.request_schema),
            _contract(each.response_schema),
        )
        for key, each in of.operations.items()
    ]
    sends = [
        (f"[{each.journey}](../journeys/{each.journey}.md)", each.step, f"`{each.field}`", f"`{each.source}`", each.cls)
        for each in known.sent
        if each.destination == name
    ]
    return _page(
        name,
        *_table(("", ""), [each for each in facts if each[1]]),
        f"## Operations\n\nAs a contract: [OpenAPI]({name}.openapi.json).\n",
        *_table(("operation", "method", "path", "request", "response"), operations),
        "## What it is sent\n",
        *_table(("journey", "step", "field", "from", "class"), sends),
    )


# ------------------------------------------------------------------------------------------------------------- parts


def _page(title: str, *parts: str) -> str:
    return "\n".join([f"<!-- {MARK} -->", f"# {title}", "", *parts]).rstrip("\n") + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table and an empty line; columns that are empty in every row are left out."""
    rows = list(rows)
    used = [at for at, name in enumerate(head) if not name or any(row[at] for row in rows)]
    if not rows:
        yield "Nothing.\n"
        return
    yield _row(head[at] for at in used)
    yield _row("---" for _ in used)
    for row in rows:
        yield _row(row[at].replace("|", "\\|").replace("\n", " ") for at in used)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _diagram(of: JourneyConfig) -> Iterator[str]:
    """Yield the graph of the steps; node names get a prefix, because Mermaid has words of its own (`end`)."""
    yield "```mermaid\nflowchart TD"
    yield f'  start(["{" or ".join(of.trigger.events)}"])'
    for step in of.steps:
        does = f"{step.kind}: {step.call}" if step.call else f"mark: {_marks(step)}"
        yield f'  s_{step.name}["{step.name}<br/>{does}"]'
    for step in of.steps:
        if not step.after:
            yield f"  start --> s_{step.name}"
        for parent, outcomes in step.after.items():
            words = "" if set(outcomes) == set(USUAL) else ", ".join(outcomes)
            edge = "-.->" if step.join == "any" else "-->"
            yield f"  s_{parent} {edge}{f'|{words}|' if words else ''} s_{step.name}"
    yield "```\n"
    if any(step.join == "any" for step in of.steps):
        yield "A dotted line: one of those is enough.\n"


def _step_row(of: JourneyConfig, step: StepConfig) -> tuple[str, ...]:
    limits = [
        f"answers within {units.duration_text(step.budget_ms)}" if step.budget_ms else "",
        f"not older than {units.duration_text(step.max_age_ms)}" if step.max_age_ms else "",
        f"before {_code(step.deadline)}" if step.deadline else "",
    ]
    purpose = of.purpose_of(step)
    fails = "its default counts; " if step.default is not None else ""
    alerts = ", ".join(of.alerts_of(step))
    return (
        step.name,
        step.kind or "mark",
        _call(step.call) if step.call else f"writes {_marks(step)} to our own tables",
        _code(step.when),
        step.reaches or "",
        of.basis_of(step) + (f", {purpose}" if purpose else ""),
        "; ".join(each for each in limits if each),
        (fails + (f"tells {alerts}" if alerts else "")).rstrip("; "),
    )


def _marks(step: StepConfig) -> str:
    return next((key for key in type(step.mark).model_fields if getattr(step.mark, key)), "") if step.mark else ""


def _call(call: str) -> str:
    name, _, operation = call.partition(".")
    return f"[{name}](../destinations/{name}.md).{operation}"


def _code(text: str | None) -> str:
    if not text:
        return ""
    return f"`{text if len(text) <= CHARS_MAX else text[:CHARS_MAX] + '…'}`".replace("\n", " ")


def _written(part: Any) -> str:
    """Return a part of a file in one line."""
    if isinstance(part, dict):
        return "; ".join(f"{key} {_written(each)}" for key, each in part.items())
    if isinstance(part, list):
        return ", ".join(_written(each) for each in part) or "nothing"
    return f"`{part}`" if isinstance(part, str) and not part.isalnum() else str(part)


def _classes(names: Sequence[str]) -> str:
    return ", ".join(names) or "no personal data"


def _keeps(known: Known, name: str) -> tuple[str, str]:
    """Return region and retention of a destination, as far as they are said."""
    data = known.config.destinations[name].data
    return data.region or "", units.duration_text(data.retention) if data.retention else ""


def _where(base_url: Any) -> str:
    """Return where a destination is: a URL that is a reference or a secret shows no more than that."""
    return f"`{base_url}`" if isinstance(base_url, str) else f"`{base_url.host}` (the URL is a secret)"


def _contract(file: str | None) -> str:
    return f"`{file}`" if file else ""
