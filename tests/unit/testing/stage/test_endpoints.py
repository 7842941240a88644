"""What an endpoint is told of a request is what was written."""

from __future__ import annotations

from pipeline.testing.stage.endpoints import request


def test_a_request_is_read_back_from_its_bytes():
    head = (
        b"POST /v1/x?a=b%20c HTTP/1.1\r\nHost: crm.example\r\nhookline-journey: welcome\r\nHookline-Step: hello\r\n\r\n"
    )
    got = request("crm", head, b"{}", 7)
    assert (got.method, got.target, got.body, got.at_ms) == ("POST", "/v1/x?a=b%20c", b"{}", 7)
    assert got.headers["host"] == "crm.example"
    assert (got.journey, got.step) == ("welcome", "hello")
