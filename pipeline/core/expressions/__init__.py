"""Decides what the expressions of a configuration mean: CEL conditions and values, and `${CEL}` in texts.

Only `pipeline.config` imports it: expressions are compiled once. Where a path leads is asked of a `Scope`, so that this
stage knows nothing of schemas. Nothing compiled here ever raises, and no error of CEL's, which quote data, leaves it.
"""

from __future__ import annotations

from pipeline.core.expressions.cel import (
    Expression,
    Flaw,
    Scope,
    Test,
    Unknown,
    Variable,
    expression,
    suggestion,
)
from pipeline.core.expressions.scan import pieces
from pipeline.core.expressions.sieve import asks, condition
from pipeline.core.expressions.template import as_text, template

__all__ = [
    "Expression", "Flaw", "Scope", "Test", "Unknown", "Variable", "as_text", "asks", "condition", "expression",
    "pieces", "suggestion", "template",
]  # fmt: skip
