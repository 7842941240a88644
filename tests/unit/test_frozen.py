"""Values are frozen under test, and what is absent cannot be taken for anything else."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline import model
from pipeline.model import Answer


def test_a_value_cannot_be_changed_under_test():
    answer = Answer(200)
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.status = 500  # type: ignore[misc]


def test_absent_is_no_json_value_by_accident():
    assert model.ABSENT is model.Absent.ABSENT
    assert model.ABSENT is not None
