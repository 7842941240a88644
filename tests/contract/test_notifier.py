"""What a notifier promises, of the fake and of Apprise with a real HTTP and a real SMTP server."""

import logging
import queue
import threading
from contextlib import contextmanager

import pytest
from aiosmtpd.controller import Controller

from pipeline.adapters.alerts import WAITING_MAX, AppriseNotifier, Unusable, connected
from pipeline.testing.notifier import ChatReceiver, FakeNotifier
from tests.support.ports import free_port

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of Apprise's plugins

BAD, WELL = "Hookline: 1 delivery failed", "Hookline: all is well again"
SECRET = "s3cr3tt0ken"


@contextmanager
def fake():
    notifier = FakeNotifier()

    class Control:
        def refuse(self):
            notifier.refuses = True

        def fill(self):
            notifier.room = 0

        def told(self):
            return notifier.told

    yield notifier, Control()
    notifier.close()


@contextmanager
def real():
    with ChatReceiver() as chat:
        notifier = AppriseNotifier({"oncall": f"json://127.0.0.1:{chat.port}/{SECRET}"}, lambda *_, **__: None)

        class Control:
            def refuse(self):
                chat.status = 500

            def fill(self):
                chat.open.clear()
                while notifier.send("oncall", BAD, "filling", lambda _: None, well=False):
                    pass

            def told(self):
                return [
                    ("oncall", each["title"], each["message"], each["type"] == "success") for _, each in chat.received
                ]

        yield notifier, Control()
        chat.open.set()
        notifier.close()


@pytest.fixture(params=[fake, real], ids=["fake", "apprise"])
def both(request):
    with request.param() as made:
        yield made


def test_a_message_arrives_with_its_kind(both):
    notifier, control = both
    results = queue.Queue()
    assert notifier.send("oncall", BAD, "2 dead(timeout)", results.put, well=False)
    assert notifier.send("oncall", WELL, "all well", results.put, well=True)
    assert [results.get(timeout=30) for _ in range(2)] == [True, True]
    assert control.told() == [("oncall", BAD, "2 dead(timeout)", False), ("oncall", WELL, "all well", True)]


def test_one_that_cannot_be_sent_is_told_as_such(both):
    notifier, control = both
    control.refuse()
    results = queue.Queue()
    assert notifier.send("oncall", BAD, "x", results.put, well=False)
    assert results.get(timeout=30) is False


def test_there_is_a_bound_to_what_waits(both):
    notifier, control = both
    control.fill()
    called = []
    assert notifier.send("oncall", BAD, "one too many", called.append, well=False) is False
    assert called == []


def test_closing_sends_what_waits_and_then_nothing_more(both):
    notifier, control = both
    assert notifier.send("oncall", BAD, "the last", lambda _: None, well=False)
    notifier.close()
    notifier.close()
    assert [body for _, _, body, _ in control.told()] == ["the last"]
    assert notifier.send("oncall", BAD, "after", lambda _: None, well=False) is False


# ------------------------------------------------------------------------------------------ Apprise's own


def test_a_chat_that_takes_slacks_webhooks_gets_its_text():
    with ChatReceiver() as chat:
        assert connected(f"mmost://127.0.0.1:{chat.port}/{SECRET}")(BAD, "2 dead(timeout): a.b to mail", False)
    [(path, body)] = chat.received
    assert path.endswith(SECRET)
    assert BAD in body["text"]
    assert "2 dead(timeout): a.b to mail" in body["text"]


def test_a_mailbox_gets_a_mail():
    mails = queue.Queue()

    class Mailbox:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - as it is called
            mails.put(envelope)
            return "250 OK"

    controller = Controller(Mailbox(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        where = f"mailto://127.0.0.1:{controller.port}/?from=hookline@shop.example&to=oncall@shop.example&mode=insecure"
        assert connected(where)(BAD, "2 dead(timeout): a.b to mail", False)
        mail = mails.get(timeout=30)
    finally:
        controller.stop()
    assert mail.rcpt_tos == ["oncall@shop.example"]
    assert b"Subject: Hookline: 1 delivery failed" in mail.content
    assert b"2 dead(timeout): a.b to mail" in mail.content


@pytest.mark.parametrize("url", ["nonsense", "https://", "bogus://x/y", ""])
def test_a_url_that_names_nobody_is_said_so_without_it(url, caplog):
    with pytest.raises(Unusable) as caught:
        connected(url)
    assert str(caught.value) == ""
    assert caplog.records == []


def test_an_unusable_url_concerns_its_own_alert_alone():
    lines, results = queue.Queue(), queue.Queue()
    with ChatReceiver() as chat:
        urls = {"broken": f"bogus://{SECRET}", "oncall": f"json://127.0.0.1:{chat.port}/"}
        notifier = AppriseNotifier(urls, lambda *given, **fields: lines.put((given, fields)))
        assert notifier.send("broken", BAD, "x", results.put, well=False)
        assert notifier.send("oncall", BAD, "x", results.put, well=False)
        assert [results.get(timeout=30) for _ in range(2)] == [False, True]
        notifier.close()
    given, fields = lines.get(timeout=30)
    assert given == ("error", "alert_unusable")
    assert fields["alert"] == "broken"
    assert SECRET not in str(fields)


def test_nothing_that_apprise_logs_can_quote_a_url(caplog):
    caplog.set_level(logging.DEBUG)
    with ChatReceiver() as chat:
        chat.status = 403
        assert not connected(f"json://127.0.0.1:{chat.port}/{SECRET}")(BAD, "x", False)
    assert SECRET not in "".join(record.getMessage() for record in caplog.records)


def test_sending_delays_nobody():
    """Whatever the receiver does: `send` comes back while the message is under way."""
    with ChatReceiver() as chat:
        chat.open.clear()
        notifier = AppriseNotifier({"oncall": f"json://127.0.0.1:{chat.port}/"}, lambda *_, **__: None)
        done = threading.Event()
        assert notifier.send("oncall", BAD, "x", lambda _: done.set(), well=False)
        assert not done.is_set()
        chat.open.set()
        assert done.wait(30)
        notifier.close()


def test_the_bound_is_the_one_documented():
    assert WAITING_MAX == 64
