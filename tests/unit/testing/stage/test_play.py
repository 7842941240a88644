"""Cases are played by the real stages; what comes out otherwise is named with its place and its reason."""

from __future__ import annotations

import time

import pytest

GRANTED = "given: {consent: {marketing.email: granted}}\n"
BOTH = "expect: {outcomes: {mail: delivered, paid: delivered}}"


def test_a_case_comes_out_as_expected(play):
    played = play(
        GRANTED
        + """
expect:
  outcomes: {mail: delivered, paid: delivered}
  requests:
    mail:
      method: POST
      path: /send
      headers: {content-type: application/json, Hookline-Step: mail}
      body: {to: ann@example.org, total: "129.50", shop: eu}
    paid: {path: /touchpoints}
"""
    )
    assert played.differences == ()
    assert played.outcomes == {"mail": "delivered", "paid": "delivered"}


def test_what_comes_out_otherwise_has_place_and_reason(play):
    played = play("expect: {outcomes: {mail: delivered, paid: skipped(condition_false)}}")
    mail, paid = played.differences
    assert (mail.step, mail.what, mail.expected, mail.got) == ("mail", "outcome", "delivered", "skipped(consent)")
    assert mail.why == "basis consent: no consent to marketing on email"
    assert (mail.place.file, mail.place.line) == ("tests/thanks.yaml", 9)
    assert paid.got == "skipped(consent)"


def test_a_body_is_compared_exactly(play):
    wanted = "body: {to: ann@example.org, total: 129.5, shop: eu, extra: [1, 2]}"
    played = play(
        f"{GRANTED}expect:\n  outcomes: {{mail: delivered, paid: delivered}}\n  requests: {{mail: {{{wanted}}}}}"
    )
    assert [(each.what, each.expected, each.got) for each in played.differences] == [
        ("body.total", "129.5", '"129.50"'),
        ("body.extra", "[1,2]", "nothing"),
    ]


def test_a_request_that_was_not_sent_is_missed(play):
    played = play(
        "expect: {outcomes: {mail: skipped(consent), paid: skipped(consent)}, requests: {mail: {method: POST}}}"
    )
    assert [(each.what, each.got) for each in played.differences] == [("request", "none")]


def test_a_journey_that_does_not_start(play):
    cheap = "event: {properties: {total: '19.99'}}\n"
    assert play(GRANTED + cheap + "expect: {outcomes: {}}").differences == ()
    (difference,) = play(GRANTED + cheap + BOTH).differences
    assert difference.got == "does not start"
    assert "event.properties.total >= 20.0 (journeys/thanks.yaml:9)" in difference.why


def test_an_expectation_of_nothing_misses_what_starts(play):
    assert [each.got for each in play(GRANTED + "expect: {outcomes: {}}").differences] == ["delivered", "delivered"]


def test_conditions_see_the_types_of_the_mapped_record(play):
    played = play(GRANTED + "event: {properties: {state: open}}\n" + BOTH)
    (difference,) = played.differences
    assert (difference.step, difference.got) == ("paid", "skipped(condition_false)")
    assert difference.why.endswith('event.properties.state == "paid" && event.time < now (journeys/thanks.yaml:20)')


def test_what_the_event_lacks_is_named(play):
    (difference,) = play(GRANTED + "event: {customer: {email: null}}\n" + BOTH).differences
    assert (difference.got, difference.why) == (
        "dead(missing_field)",
        "the payload needs to, which the event does not have",
    )


def test_six_hours_of_retries_take_no_time(play):
    began_s = time.monotonic()
    failing = "{fail: timeout}, {status: 503}, {status: 500}, {fail: connection}, {status: 503}"
    played = play(f"{GRANTED}answers: {{mail: [{failing}, {{status: 200}}]}}\n{BOTH}")
    assert played.differences == ()
    sent = [each.at_ms for each in played.requests if each.step == "mail"]
    assert len(sent) == 6
    assert sent[-1] - sent[0] > 600_000
    assert time.monotonic() - began_s < 30


def test_a_destination_that_stays_down_ends_dead(play):
    (difference,) = play(f"{GRANTED}answers: {{mail: {{status: 503}}}}\n{BOTH}").differences
    assert difference.got == "dead(server_error)"
    assert difference.why.startswith("8 attempts, the last one: HTTP 503")


def test_an_answer_that_says_no(play):
    assert play(f"{GRANTED}answers: {{mail: {{status: 422}}}}\n{BOTH}").outcomes["mail"] == "rejected"


def test_now_decides_how_old_the_event_is(play):
    (stale, _) = play(f"{GRANTED}now: 2026-11-25T10:00:01Z\n{BOTH}").differences
    assert (stale.got, stale.why) == ("skipped(stale)", "the event is older than 2d (max_age)")
    assert play(f"{GRANTED}now: 2026-11-24T09:59:50Z\n{BOTH}").differences == ()


def test_earlier_events_come_first_and_count_for_nothing_by_themselves(play):
    before = '[{time: 2026-11-20T10:00:00Z, properties: {total: "99.00", state: open}}]'
    played = play(f"given: {{consent: {{marketing.email: granted}}, earlier: {before}}}\n{BOTH}")
    assert played.differences == ()
    assert len([each for each in played.requests if each.step == "mail"]) == 1


def test_the_same_case_has_the_same_trace(play):
    text = f"{GRANTED}answers: {{mail: [{{status: 503}}, {{fail: closed}}, {{status: 200}}]}}\n{BOTH}"
    assert play(text).requests == play(text).requests


def test_what_is_suppressed_is_not_sent(play):
    for what in ("{category: promotional}", "{journey: thanks}"):
        played = play(f"given: {{consent: {{email: granted}}, suppressions: [{what}]}}\n{BOTH}")
        assert played.outcomes["mail"] == "skipped(suppression)"
    other = play(f"given: {{consent: {{email: granted}}, suppressions: [{{channel: sms}}]}}\n{BOTH}")
    assert other.differences == ()


def test_the_newer_word_of_table_and_event_counts(play):
    denies = "event: {consent: {email: denied}}\n"
    assert play(f"{GRANTED}{denies}{BOTH}").outcomes["mail"] == "skipped(consent)"


DRAWN = "basis: consent\nrollout: 0%\nholdout: 100%"


@pytest.mark.parametrize(
    ("given", "came"),
    [
        ("", "delivered"), (", holdout: out, rollout: in", "delivered"), (", holdout: in", "skipped(holdout)"),
        (", rollout: out", "skipped(rollout)"), (", rollout: out, holdout: in", "skipped(rollout)"),
    ],
)  # fmt: skip
def test_who_may_enter_and_who_is_held_out_is_as_the_case_says_whoever_would_be_drawn(play, folder, given, came):
    path = folder / "journeys/thanks.yaml"
    path.write_text(path.read_text().replace("basis: consent", DRAWN, 1))
    granted = GRANTED.replace("}}", f"}}{given}}}")
    assert play(granted + BOTH.replace("delivered", came)).differences == ()


@pytest.mark.parametrize("share", ["rollout: 1%", "holdout: 99%"])
def test_without_a_word_a_case_does_not_depend_on_whom_its_customer_is_drawn_for(play, folder, share):
    path = folder / "journeys/thanks.yaml"
    path.write_text(path.read_text().replace("basis: consent", f"basis: consent\n{share}", 1))
    for number in range(20):
        assert play(f"event: {{customer: {{id: c-{number}}}}}\n{GRANTED}{BOTH}").differences == ()
