"""Caps and quiet hours as they are written: what is refused with which remedy, and whose clock counts."""

from __future__ import annotations

import json
import pathlib

import pytest
from pydantic import ValidationError

from pipeline.config.compile import check
from pipeline.config.compile import compile as compile_config
from pipeline.config.contacting import Cap, Peace, QuietHours, clock_text
from pipeline.config.scope import RecordScope
from pipeline.config.secrets import Secrets
from pipeline.core import types
from pipeline.core.expressions import Flaw

LIFECYCLE = json.loads((pathlib.Path(__file__).parents[3] / "schemas" / "lifecycle_event.avsc").read_text())
NIGHT = {"channels": ["sms"], "from": "21:00", "to": "08:00", "zone": "Europe/Berlin"}
PERSON = types.tree({
    "type": "record", "name": "P",
    "fields": [{"name": "zone", "type": ["null", "string"]}, {"name": "age", "type": "int"}],
})  # fmt: skip


def flaws(section, given) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        section.model_validate(given)
    return [(each["ctx"]["text"], each["ctx"]["hint"]) for each in caught.value.errors()]


def test_times_of_day_are_read_as_seconds_and_written_back():
    read = QuietHours.model_validate(NIGHT)
    assert (read.from_s, read.to_s, read.then) == (75_600, 28_800, "hold")
    assert [clock_text(each) for each in (read.from_s, read.to_s, 0, 60)] == ["21:00", "08:00", "00:00", "00:01"]


@pytest.mark.parametrize("clock", ["24:00", "8:00", "08:60", "08:00:00", " 08:00", "8", 8, None, "\u0660\u0668:00"])
def test_what_is_no_time_of_day_is_refused(clock):
    assert flaws(QuietHours, NIGHT | {"from": clock}) == [("must be a time of day", 'such as "21:00"')]


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"to": "21:00"}, ("`from` and `to` are the same", "a day without contact is a journey that is paused")),
        (
            {"zone": "Europe/Berln"},
            ("is no time zone of the IANA database", "did you mean Europe/Berlin"),
        ),
        ({"zone": "x/y"}, ("is no time zone of the IANA database", "such as Europe/Berlin")),
        (
            {"zone": "${event.customer.timezone}"},
            ("needs `zone_absent`", "for customers whose event has no time zone"),
        ),
        (
            {"zone": "${event.customer.timezone}", "zone_absent": "europe/berlin"},
            ("is no time zone of the IANA database", "did you mean Europe/Berlin"),
        ),
    ],
)
def test_hours_that_nobody_could_keep_are_refused(change, flaw):
    assert flaws(QuietHours, NIGHT | change) == [flaw]


def test_a_cap_has_a_number_and_a_window():
    cap = Cap.model_validate({"category": "promotional", "channel": "email", "max": 3, "per": "7d"})
    assert (cap.max, cap.per_ms) == (3, 7 * 86_400_000)
    for change in ({"max": 0}, {"max": 1_001}, {"category": "loud"}, {"per": "week"}, {"per": 7}):
        with pytest.raises(ValidationError):
            Cap.model_validate({"category": "promotional", "channel": "email", "max": 3, "per": "7d"} | change)


# --------------------------------------------------------------------------------------------------- whose clock


def peace(text: str, *, strict=True) -> Peace:
    given = QuietHours.model_validate(NIGHT | {"zone": text, "zone_absent": "UTC"})
    return Peace([given], RecordScope(PERSON, strict=strict))


def zone(made: Peace, said: str | None = None) -> str:
    (hours,) = made.of("sms", "consent")
    return str(hours.zone({"zone": said, "age": 1}, 0))


@pytest.mark.parametrize(
    ("said", "found"),
    [("America/New_York", "America/New_York"), (None, "UTC"), ("Mars/Olympus", "UTC"), ("../../etc/passwd", "UTC")],
)
def test_the_customers_zone_is_what_the_event_says_if_there_is_such_a_zone(said, found):
    assert zone(peace("${record.zone}"), said) == found


def test_a_zone_may_be_the_same_for_all():
    assert zone(peace("America/New_York"), "Europe/Berlin") == "America/New_York"


def test_an_expression_that_gives_no_text_or_reads_what_is_not_there_is_a_flaw_and_goes_by_zone_absent():
    made = peace("${record.age}")
    assert made.flaws == {0: (Flaw(0, "must be text, this is int"),)}
    assert zone(made, "Europe/Berlin") == "UTC"
    made = peace("${record.zoen}")
    assert [flaw.message for flaw in made.flaws[0]] == ["there is no field `zoen`"]
    assert zone(made, "Europe/Berlin") == "UTC"
    assert zone(peace("${record.zoen}", strict=False), "Europe/Berlin") == "UTC"


@pytest.mark.parametrize(
    ("channel", "basis", "kept"),
    [
        ("sms", "consent", 1),
        ("sms", "legitimate_interest", 1),
        ("sms", "contract", 1),
        ("sms", "legal_obligation", 0),
        ("email", "consent", 0),
        (None, "consent", 0),
    ],
)
def test_hours_are_kept_by_what_reaches_the_customer_and_need_not_be_sent_at_once(channel, basis, kept):
    assert len(peace("UTC").of(channel, basis)) == kept


# ------------------------------------------------------------------------------------------ in a configuration

HOURS = """\
quiet_hours:
  - {channels: [sms], from: "21:00", to: "08:00", zone: "${event.customer.timezone}", zone_absent: Europe/Berlin}
"""
WELCOME = "journeys/welcome.yaml"


def test_a_zone_that_no_event_has_is_refused_at_its_place(folder):
    config = folder.add("hookline.yaml", HOURS.replace("customer.timezone", "customer.timezon")).load()
    assert check(config, {"hookline.LifecycleEvent": LIFECYCLE}) == (), "nobody is reached there"
    config = folder.add(WELCOME, "    reaches: sms\n").load()
    (problem,) = check(config, {"hookline.LifecycleEvent": LIFECYCLE})
    assert (problem.file, problem.field) == ("hookline.yaml", "quiet_hours[0].zone")
    assert (problem.message, problem.hint) == ("there is no field `timezon`", "did you mean timezone")
    good = folder.change("hookline.yaml", "timezon}", "timezone}").load()
    assert check(good, {"hookline.LifecycleEvent": LIFECYCLE}) == ()


def test_hours_reach_the_steps_they_are_for(folder):
    folder.add("hookline.yaml", HOURS).add(WELCOME, "    reaches: sms\nrollout: 25%\n").change(
        WELCOME, "live", "paused"
    )
    compiled = compile_config(folder.load(), Secrets(folder.root, {}), {"hookline.LifecycleEvent": LIFECYCLE})
    (route,) = compiled.plan("lifecycle.events", LIFECYCLE).routes["signup.completed"]
    (step,) = route.steps
    assert (route.status, route.rollout, route.holdout, route.shares) == ("paused", 0.25, 0.0, "welcome")
    assert (step.reaches, len(step.quiet)) == ("sms", 1)
    assert str(step.quiet[0].zone({"customer": {"timezone": "America/New_York"}}, 0)) == "America/New_York"
    assert compiled.statuses == {"welcome": "paused"}


def test_a_channel_that_is_a_slip_is_refused(folder):
    folder.add("hookline.yaml", HOURS.replace("[sms]", "[emial]"))
    assert "quiet_hours[0].channels[0]: is reached by no journey (did you mean email)" in (
        folder.add(WELCOME, "    reaches: email\n").problem()
    )


def test_a_channel_that_nothing_reaches_yet_is_fine(folder):
    folder.add("hookline.yaml", HOURS).add(WELCOME, "    reaches: email\n").load()


@pytest.mark.parametrize("basis", ["contract", "legal_obligation"])
def test_who_has_a_right_to_it_is_not_held_out(folder, basis):
    folder.change(WELCOME, "basis: contract", f"basis: {basis}")
    problem = folder.add(WELCOME, "holdout: 10%\n").problem()
    assert f"holdout: leaves customers out of what has basis {basis}" in problem


def test_a_holdout_does_not_reach_a_step_that_customers_have_a_right_to(folder):
    folder.change(WELCOME, "basis: contract", "basis: consent\npurpose: marketing")
    folder.add(WELCOME, "    basis: contract\nholdout: 10%\n")
    assert "holdout: leaves customers out of step hello, what has basis contract" in folder.problem()


CAPS = "caps: [{category: service, channel: email, max: 3, per: 7d}]\n"


def test_a_cap_counts_steps_of_its_category_and_channel_that_need_not_be_sent(folder):
    folder.add("hookline.yaml", CAPS).add(WELCOME, "    reaches: email\n")
    compiled = compile_config(folder.load(), Secrets(folder.root, {}), {"hookline.LifecycleEvent": LIFECYCLE})
    (step,) = compiled.plan("lifecycle.events", LIFECYCLE).routes["signup.completed"][0].steps
    assert [(each.most, each.per_ms) for each in step.caps] == [(3, 7 * 86_400_000)]
    assert compiled.remembers, "contacts are remembered where a cap counts them"


@pytest.mark.parametrize("change", [("category: service", "category: operational"), ("contract", "legal_obligation")])
def test_a_cap_that_counts_nothing_costs_nothing(folder, change):
    folder.add("hookline.yaml", CAPS).add(WELCOME, "    reaches: email\n").change(WELCOME, *change)
    compiled = compile_config(folder.load(), Secrets(folder.root, {}), {"hookline.LifecycleEvent": LIFECYCLE})
    assert compiled.plan("lifecycle.events", LIFECYCLE).routes["signup.completed"][0].steps[0].caps == ()
    assert not compiled.remembers


def test_caps_that_are_slips_or_there_twice_are_refused(folder):
    folder.add(WELCOME, "    reaches: email\n").add("hookline.yaml", CAPS.replace("email", "emial"))
    assert "caps[0].channel: is reached by no journey (did you mean email)" in folder.problem()
    double = CAPS.replace("}]", "}, {category: service, channel: email, max: 5, per: 7d}]")
    folder.change("hookline.yaml", CAPS.replace("email", "emial"), double)
    assert "caps[1]: is here twice" in folder.problem()


def test_caps_of_several_inputs_have_events_copied_under_their_customers_ids(folder):
    other = "  - topic: other\n    record: hookline.LifecycleEvent\npurposes"
    folder.change("hookline.yaml", "purposes", other).add("hookline.yaml", CAPS).add(WELCOME, "    reaches: email\n")
    compiled = compile_config(folder.load(), Secrets(folder.root, {}), {"hookline.LifecycleEvent": LIFECYCLE})
    assert compiled.rekeyed is True


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ("reaches: mail", "reaches"),
        ("mark: {suppress: {channel: emial, id: a, at_most: 1d}}", "mark.suppress.channel"),
        ("mark: {consent: {channel: e_mail, state: denied, at: '${event.time}'}}", "mark.consent.channel"),
    ],
)
def test_a_channel_nobody_speaks_of_that_is_almost_a_known_one_is_a_slip(folder, step, field) -> None:
    if step.startswith("mark"):
        folder.add("journeys/welcome.yaml", f"  - step: marked\n    {step}\n")
    else:
        folder.change("journeys/welcome.yaml", "    kind: update\n", f"    kind: update\n    {step}\n")
    problem = folder.problem()
    assert f"{field}: is no channel that is known here (did you mean email; a channel of your own is known " in problem


@pytest.mark.parametrize(
    "known",
    [
        "caps: [{category: service, channel: mail, max: 2, per: 7d}]\n",
        "quiet_hours: [{channels: [mail], from: '21:00', to: '08:00', zone: Europe/Berlin}]\n",
    ],
)
def test_a_channel_of_ones_own_is_known_once_it_is_named(folder, known) -> None:
    folder.change("journeys/welcome.yaml", "    kind: update\n", "    kind: update\n    reaches: mail\n")
    assert folder.add("hookline.yaml", known).load().journeys["welcome"].steps[0].reaches == "mail"
    folder.change("journeys/welcome.yaml", "reaches: mail", "reaches: letter")  # like none that is known
    assert folder.load().journeys["welcome"].steps[0].reaches == "letter"
