"""Every error Hookline raises, in one tree.

Errors are for refusals at an edge: expected results of the hot path (a rejected delivery, an absent field) are values.

    HooklineError
    ├── ConfigError      the configuration is wrong; `problems` names file, line, column, field and remedy
    ├── BrokerError      Kafka refuses or lost what the worker needs; the worker stops uncommitted
    │   └── TopicMissing a topic is not there; names it and the command that creates it
    └── Bug              an invariant of ours broke; the worker stops uncommitted
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BrokerError", "Bug", "ConfigError", "HooklineError", "Problem", "TopicMissing"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: where, what, what to do. Lines and columns count from 1; 0 is unknown."""

    file: str
    line: int
    column: int
    field: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """`file:line:column: field: message (hint)`, the form editors jump to."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        said = self.message + (f" ({self.hint})" if self.hint else "")
        return ": ".join(part for part in (place, self.field, said) if part)


class HooklineError(Exception):
    """Base of every error a user of Hookline may see; its text is fit to print as it is."""


class ConfigError(HooklineError):
    """A configuration that cannot be used. All problems at once, never only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class BrokerError(HooklineError):
    """Kafka refused something the worker cannot go on without."""


class TopicMissing(BrokerError):
    """A topic the worker needs does not exist."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        names = ", ".join(topics)
        remedy = "hookline topics create makes Hookline's own, and with --with-input N the input topics too"
        super().__init__(f"missing on the broker: {names}; {remedy}")
        self.topics = topics


class Bug(HooklineError):
    """Something that cannot happen happened; the worker stops, so that nothing is committed on a false belief."""
