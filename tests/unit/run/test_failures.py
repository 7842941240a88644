"""run/failures: one line for each, and those who asked are told of what did not reach its destination."""

from __future__ import annotations

from pipeline.model import FailureClass, Outcome
from pipeline.run.failures import Failures
from pipeline.testing.fakes import FakeTelemetry
from tests.unit.run.conftest import step


async def test_what_went_wrong_is_logged_and_told(world) -> None:
    telemetry, told = FakeTelemetry(), []
    failures = Failures(telemetry.log)
    (delivery,) = world.deliveries(step())
    failures.say(Outcome.REJECTED, delivery, FailureClass.CLIENT_ERROR, "http_422")  # nobody asked to be told
    failures.told = lambda delivery, outcome, cls: told.append((delivery.step.name, outcome, cls))
    failures.say(Outcome.DEAD, delivery, FailureClass.TIMEOUT, "x")
    failures.say(Outcome.DEFAULTED, delivery, FailureClass.TIMEOUT, "x")
    failures.say(Outcome.DELIVERED, delivery, FailureClass.CONTRACT, "#/data type")
    assert [(event, fields["class"], fields["detail"]) for _, event, fields in telemetry.lines] == [
        ("delivery_rejected", "client_error", "http_422"), ("delivery_dead", "timeout", "x"),
        ("delivery_defaulted", "timeout", "x"), ("contract_broken", "contract", "#/data type"),
    ]  # fmt: skip
    assert told == [("crm", "dead", "timeout"), ("crm", "defaulted", "timeout")]
