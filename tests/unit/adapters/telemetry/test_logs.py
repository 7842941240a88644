"""JSON log lines: scalars only, and the libraries' logging on the same way without their values."""

import io
import json
import logging

import pytest

from pipeline.adapters.telemetry.logs import TEXT_CHARS_MAX, Libraries, Log
from pipeline.model import FailureClass, Undecodable

EMAIL = "ann.personal@example.org"


@pytest.fixture
def stream():
    return io.BytesIO()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_time_level_event_and_the_fields_given(stream):
    Log(stream=stream).write(
        "warning",
        "delivery_dead",
        {"event_id": "e-1", "status": 503, "class": FailureClass.TIMEOUT, "last": True, "x": None},
    )
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning", "event": "delivery_dead", "event_id": "e-1", "status": 503, "class": "timeout",
        "last": True, "x": None,
    }  # fmt: skip


def test_what_is_no_scalar_is_named_but_not_written(stream):
    Log(stream=stream).write(
        "error", "odd", {"datum": {"email": EMAIL}, "why": Undecodable(EMAIL), "raw": EMAIL.encode()}
    )
    (line,) = lines(stream)
    assert line["withheld"] == "datum,why,raw"
    assert EMAIL not in stream.getvalue().decode()


def test_text_is_bounded_and_a_lone_surrogate_does_not_lose_the_line(stream):
    Log(stream=stream).write("error", "long", {"detail": "x" * 10_000})
    Log(stream=stream).write("error", "odd", {"detail": "\ud800"})
    first, second = stream.getvalue().splitlines()
    assert len(json.loads(first)["detail"]) == TEXT_CHARS_MAX
    assert b"odd" in second


@pytest.mark.parametrize(
    ("level", "written"), [("debug", 0), ("info", 0), ("warning", 1), ("error", 1), ("critical", 1)]
)
def test_lines_below_the_level_are_not_written(stream, level, written):
    Log("warning", stream).write(level, "something", {})
    assert len(lines(stream)) == written


@pytest.fixture
def libraries(stream):
    handler = Libraries(Log("debug", stream))
    handler.open()
    yield handler
    handler.close()


def test_the_libraries_log_as_json_too(stream, libraries):
    logging.getLogger("librdkafka").error("[thrd:main]: %s: Connect to ipv4#127.0.0.1:1 failed", "broker-1")
    (line,) = lines(stream)
    assert line["event"] == "library_message"
    assert (line["level"], line["logger"]) == ("error", "librdkafka")
    assert line["message"] == "[thrd:main]: broker-1: Connect to ipv4#127.0.0.1:1 failed"


def test_of_other_libraries_only_the_template_and_the_class_of_an_error_are_written(stream, libraries):
    def fails():
        raise ValueError(EMAIL)

    try:
        fails()
    except ValueError:
        logging.getLogger("aiohttp.client").exception("could not parse %s", EMAIL)
    (line,) = lines(stream)
    assert (line["message"], line["exception"]) == ("could not parse %s", "ValueError")
    assert "test_logs.py:" in line["at"]
    assert EMAIL not in stream.getvalue().decode()


def test_a_template_that_does_not_fit_its_values_is_still_a_line(stream, libraries):
    # Not through a logger: pytest's own handler, beside ours, would raise over it.
    libraries.handle(logging.LogRecord("librdkafka", logging.ERROR, "", 1, "%d tries", ("many",), None))
    assert lines(stream)[0]["message"] == "%d tries"


def test_the_level_of_libraries_holds_and_all_is_given_back(stream):
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    handler = Libraries(Log("debug", stream))
    handler.open()
    assert root.handlers == [handler]
    logging.getLogger("aiohttp").info("chatter")
    assert lines(stream) == []
    handler.close()
    assert (root.handlers, root.level) == before
