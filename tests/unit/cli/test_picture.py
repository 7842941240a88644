"""How a timeline looks: aligned, whole lines when it is no terminal, colours only on one."""

import io

import pytest
from rich.console import Console

from pipeline.cli import picture
from pipeline.core.timeline import ATTEMPT, DEAD_LETTER, HANDED_OVER, SETTLED, DeliveryLine, Letter, Moment, Timeline
from pipeline.model import Outcome

T0 = 1_790_000_000_000


def line(*moments, outcome=Outcome.DELIVERED, reason="", repeats=0):
    return DeliveryLine("d-1", "cart_recovery", "push", "crm", "set_stage", outcome, reason, 2, repeats, moments)


def drawn(of, *, terminal=False):
    out = io.StringIO()
    colours = "truecolor" if terminal else None
    picture.show([of], Console(file=out, force_terminal=terminal, highlight=False, width=100, color_system=colours))
    return out.getvalue()


EVENT = Timeline(
    "0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d", "cart.abandoned", "0197b6d21c5e7a3b8c4d5e6f7a8b9c0d",
    ("lifecycle.events", 3, 1234), T0 - 250, T0, 2,
    (
        line(
            Moment(T0 + 12, ATTEMPT, 1, 503, "server_error", 20.4),
            Moment(T0 + 300, HANDED_OVER, cls="server_error", hop=1, due_ms=T0 + 10_300),
            Moment(T0 + 10_330, ATTEMPT, 2, 200, "", 8.0, kept=False),
            Moment(T0 + 10_340, SETTLED, 0, 200, detail="delivered"),
            Moment(T0 + 10_350, DEAD_LETTER, place=("hookline.dead", 0, 7), detail="why"),
            repeats=1,
        ),
    ),
)  # fmt: skip


def test_a_picture_tells_the_whole_story():
    assert (
        drawn(EVENT).rstrip()
        == """\
event 0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d  cart.abandoned
├── happened  2026-09-21 14:13:19.750 UTC
├── arrived   2026-09-21 14:13:20.000 UTC as lifecycle.events/3/1234
├── trace id  0197b6d21c5e7a3b8c4d5e6f7a8b9c0d
├── 1 of 2 deliveries not settled yet
└── cart_recovery.push to crm.set_stage  delivered after 2 attempts
    ├── delivery  d-1
    ├──  +12 ms  attempt 1            503  server_error              20 ms
    ├── +300 ms  handed over (hop 1)       server_error        due +10.3 s
    ├── +10.3 s  attempt 2            200                            ~8 ms
    ├── +10.3 s  delivered
    ├── +10.3 s  dead letter               why           hookline.dead/0/7
    └── 1 repeated by a crash or a rebalance"""
    )


def test_colours_are_for_terminals():
    assert "\x1b[" not in drawn(EVENT)
    assert "\x1b[" in drawn(EVENT, terminal=True)


def test_a_record_that_was_no_event_shows_its_dead_letter():
    says = {"class": "undecodable", "detail": "bytes end early"}
    letter = Letter(("hookline.dead", 0, 7), T0, says)
    text = drawn(Timeline("", "", "t" * 32, ("lifecycle.events", 0, 5), 0, T0, 0, (), (letter,)))
    assert "event (undecodable)" in text
    assert "dead letter hookline.dead/0/7: undecodable: bytes end early" in text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (0.4, "0.4 ms"), (12.4, "12 ms"), (999, "999 ms"), (1_000, "1.0 s"), (59_900, "59.9 s"),
     (61_000, "1m 01s"), (3_599_000, "59m 59s"), (3_600_000, "1h 00m"), (90_000_000, "1d 1h")],
)  # fmt: skip
def test_spans_are_exact_enough_for_their_size(ms, text):
    assert picture.span(ms) == text
