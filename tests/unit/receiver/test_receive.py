"""One delivery, handled once: what happens when handlers fail, hang, are cancelled, and when the memory is away."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from pipeline.receiver import InMemory, Receiver, current, standard_webhooks
from pipeline.receiver.receive import _log
from pipeline.receiver.seen import Claim
from pipeline.receiver.values import REPEAT, RETRY_AFTER_S, Reply
from tests.support import requests
from tests.support.conditions import eventually

WRONG = b'{"total":"canary"}'
VERIFY = standard_webhooks([requests.secret(1)])


def receiver(**options):
    return Receiver(VERIFY, **options)


def attempt(endpoint, delivery_id="d-1"):
    return endpoint.check(requests.signed(delivery_id=delivery_id), requests.BODY)


async def works(done):
    await done()
    return "worked"


async def refuses(_done):
    return "refused"


async def raises(_done):
    raise LookupError("of the handler")


class Away(InMemory):
    """A memory that fails, or does not answer, when it is asked certain things."""

    def __init__(self, *failing, hang=False):
        super().__init__()
        self._failing, self._hang = failing, hang

    async def _ask(self, what):
        if what in self._failing:
            if self._hang:
                await asyncio.Event().wait()
            raise ConnectionError("canary")

    async def claim(self, delivery_id):
        await self._ask("claim")
        return await super().claim(delivery_id)

    async def done(self, delivery_id):
        await self._ask("done")
        await super().done(delivery_id)

    async def free(self, delivery_id):
        await self._ask("free")
        await super().free(delivery_id)


class Leased(InMemory):
    """A memory whose claims must be renewed; counts it, and loses the claim when told."""

    renew_s = 0.01

    def __init__(self):
        super().__init__()
        self.renewed, self.lost = 0, False

    async def renew(self, delivery_id):
        self.renewed += 1
        return not self.lost


async def test_a_repeat_of_what_was_handled_is_answered_as_success_and_not_handled():
    endpoint = receiver()
    assert await endpoint.once(attempt(endpoint), works) == "worked"
    assert await endpoint.once(attempt(endpoint), raises) is REPEAT
    assert REPEAT.status == 200
    assert await endpoint.once(attempt(endpoint, "d-2"), works) == "worked"


@pytest.mark.parametrize("fails", [refuses, raises])
async def test_a_failure_frees_the_delivery_for_the_next_attempt(fails):
    endpoint = receiver()
    try:
        assert await endpoint.once(attempt(endpoint), fails) == "refused"
    except LookupError:
        assert fails is raises
    assert await endpoint.once(attempt(endpoint), works) == "worked"


async def test_a_repeat_meanwhile_is_asked_to_come_again():
    endpoint, under_way, go_on = receiver(), asyncio.Event(), asyncio.Event()

    async def slow(done):
        under_way.set()
        await go_on.wait()
        return await works(done)

    first = asyncio.create_task(endpoint.once(attempt(endpoint), slow))
    await under_way.wait()
    told = await endpoint.once(attempt(endpoint), works)
    assert (told.status, dict(told.headers)["retry-after"]) == (409, str(RETRY_AFTER_S))
    go_on.set()
    assert await first == "worked"
    assert await endpoint.once(attempt(endpoint), raises) is REPEAT


async def test_it_counts_as_handled_from_done_on_even_if_the_handler_goes_on_and_fails():
    endpoint = receiver()

    async def works_then_raises(done):
        await done()
        await done()
        assert await endpoint.once(attempt(endpoint), raises) is REPEAT
        raise LookupError

    with pytest.raises(LookupError):
        await endpoint.once(attempt(endpoint), works_then_raises)
    assert await endpoint.once(attempt(endpoint), raises) is REPEAT


async def test_a_cancelled_handler_frees_the_delivery():
    endpoint, under_way = receiver(), asyncio.Event()

    async def hangs(_done):
        under_way.set()
        await asyncio.Event().wait()

    request = asyncio.create_task(endpoint.once(attempt(endpoint), hangs))
    await under_way.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await endpoint.once(attempt(endpoint), works) == "worked"


async def test_a_handler_that_takes_too_long_is_stopped_and_tried_again():
    endpoint = receiver(handle_s_max=0.02)

    async def hangs(_done):
        await asyncio.Event().wait()

    told = await endpoint.once(attempt(endpoint), hangs)
    assert (told.status, json.loads(told.body)["reason"]) == (503, "handler_timeout")
    assert await endpoint.once(attempt(endpoint), works) == "worked"


async def test_a_handlers_own_timeout_is_its_own():
    async def times_out(_done):
        raise TimeoutError

    endpoint = receiver()
    with pytest.raises(TimeoutError):
        await endpoint.once(attempt(endpoint), times_out)


async def test_what_comes_after_the_answer_is_not_timed():
    endpoint, after = receiver(handle_s_max=0.3), asyncio.Event()

    async def goes_on(done):
        await done()
        asyncio.get_running_loop().call_later(0.6, after.set)
        await after.wait()
        return "worked"

    assert await endpoint.once(attempt(endpoint), goes_on) == "worked"


@pytest.mark.parametrize("hang", [False, True])
async def test_without_the_memory_nothing_is_handled(hang, monkeypatch, caplog):
    monkeypatch.setattr("pipeline.receiver.receive.STORE_S_MAX", 0.05)
    endpoint = receiver(seen=Away("claim", hang=hang))
    told = await endpoint.once(attempt(endpoint), raises)
    assert (told.status, dict(told.headers)["retry-after"]) == (503, str(RETRY_AFTER_S))
    assert ("TimeoutError" if hang else "ConnectionError") in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("hang", [False, True])
async def test_a_memory_that_goes_away_meanwhile_changes_no_answer(hang, monkeypatch, caplog):
    monkeypatch.setattr("pipeline.receiver.receive.STORE_S_MAX", 0.05)
    endpoint = receiver(seen=Away("done", "free", hang=hang))
    assert await endpoint.once(attempt(endpoint), works) == "worked"
    with pytest.raises(LookupError):
        await endpoint.once(attempt(endpoint, "d-2"), raises)
    assert caplog.text.count("was not told") == 2


async def test_a_full_memory_refuses_instead_of_forgetting():
    endpoint = receiver(seen=InMemory(entries_max=0))
    assert (await endpoint.once(attempt(endpoint), works)).status == 503


async def test_done_is_written_to_its_end_even_if_the_request_is_cancelled():
    go_on = asyncio.Event()

    class Slow(InMemory):
        async def done(self, delivery_id):
            await go_on.wait()
            await super().done(delivery_id)

    seen = Slow()
    endpoint = receiver(seen=seen)
    request = asyncio.create_task(endpoint.once(attempt(endpoint), works))
    await eventually(lambda: endpoint._writes, what="the write")
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    go_on.set()

    async def remembered():
        return await seen.claim("d-1") is Claim.DONE

    await eventually(remembered, what="the write's end")


async def test_a_claim_is_renewed_while_the_handler_runs_and_not_after():
    seen = Leased()
    endpoint = receiver(seen=seen)

    async def slow(done):
        await eventually(lambda: seen.renewed >= 3)
        await done()
        return "worked"

    assert await endpoint.once(attempt(endpoint), slow) == "worked"
    await eventually(lambda: len(asyncio.all_tasks()) == 1, what="the end of renewing")


@pytest.mark.parametrize("ends", [works, refuses])
async def test_nothing_waits_for_the_next_renewal_of_a_claim_that_ended(ends):
    seen = Leased()
    seen.renew_s = 3_600.0
    endpoint = receiver(seen=seen)

    async def lets_others_run_first(done):
        await asyncio.sleep(0)
        return await ends(done)

    await endpoint.once(attempt(endpoint), lets_others_run_first)
    await eventually(lambda: len(asyncio.all_tasks()) == 1, what="the end of renewing")


async def test_a_lost_claim_is_told(caplog):
    seen = Leased()
    seen.lost = True
    endpoint = receiver(seen=seen)

    async def slow(done):
        await eventually(lambda: "was lost" in caplog.text)
        await done()
        return "worked"

    assert await endpoint.once(attempt(endpoint), slow) == "worked"


async def test_the_handler_knows_its_request_and_its_log_lines_too(caplog):
    endpoint = receiver()
    accepted = attempt(endpoint)

    async def looks(done):
        assert current() is accepted
        return await works(done)

    await endpoint.once(accepted, looks)
    assert current() is None
    with caplog.at_level(logging.INFO, _log.name):
        await endpoint.once(accepted, looks)
    assert (caplog.records[-1].getMessage(), vars(caplog.records[-1])["event.id"]) == (
        "Not handled: repeat",
        requests.EVENT_ID,
    )


@pytest.mark.parametrize(
    ("signed", "body", "answered"),
    [
        (lambda _body: {}, requests.BODY, (401, {"reason": "signature"})),
        (requests.signed, b"{}", (422, {"violations": [{"path": "/total", "rule": "required"}]})),
        (requests.signed, WRONG, (422, {"violations": [{"path": "/total", "rule": "type"}]})),
        (lambda body: requests.signed(body, now_s=1), requests.BODY, (401, {"reason": "timestamp"})),
    ],
)  # fmt: skip
def test_refusals_are_problem_details_and_log_lines_without_data(signed, body, answered, caplog):
    endpoint = receiver(schema={"required": ["total"], "properties": {"total": {"type": "integer"}}})
    reply = endpoint.refuse(endpoint.check(signed(body), body))
    assert isinstance(reply, Reply)
    assert dict(reply.headers) == {"content-type": "application/problem+json"}
    said = json.loads(reply.body)
    assert (reply.status, said) == (answered[0], said | answered[1] | {"status": answered[0]})
    assert "Refused a request: " in caplog.text
    assert "canary" not in caplog.text + reply.body.decode()
