"""Files get their one layout, and mean what they meant: comments, scalars and the order of lists stay."""

from __future__ import annotations

import io
import pathlib
import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString, SingleQuotedScalarString

from pipeline.config.journey import JourneyConfig
from pipeline.config.jsonschema import FILES
from pipeline.config.layout import ORDER, LayoutError, laid_out
from pipeline.config.places import Places
from pipeline.config.yaml import parse

CDNOW = pathlib.Path("tests/data/config/cdnow")

MESSY = """\
# About this journey.

owner: 'crm@shop.example'
journey: welcome   # its name


# when it starts
trigger:
    max_age: 0x1F
    # only these
    events:
    - signup.completed
    - '1'
steps:
-   payload:
        b: 'it''s "so"'
        a: {y: 'on', x: ~}

        # a literal
        text: |
            # no comment

            two
    kind: update
    # whom
    call: crm.note
    step: hello
    # the last word
-   {kind: record, call: log.note, step: log}
status: live
"""
NEAT = """\
# About this journey.

journey: welcome   # its name
status: live
owner: "crm@shop.example"

# when it starts
trigger:
  # only these
  events:
    - signup.completed
    - "1"
  max_age: 0x1F
steps:
  - step: hello
    # whom
    call: crm.note
    kind: update
    payload:
      b: 'it''s "so"'
      a: {y: "on", x: ~}

      # a literal
      text: |
        # no comment

        two
    # the last word
  - {step: log, call: log.note, kind: record}
"""


def tree(text: str) -> object:
    made, problems = parse("a.yaml", text.encode(), Places())
    assert not problems, [str(each) for each in problems]
    return made


def test_one_layout() -> None:
    assert laid_out(JourneyConfig, MESSY) == NEAT


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_line_endings_and_blanks(ending: str) -> None:
    text = "# a\n\n\n\nstatus: live  \njourney: b\n\n".replace("\n", ending or "\n")
    assert laid_out(JourneyConfig, text.rstrip("\n") if not ending else text) == "# a\n\njourney: b\nstatus: live\n"


def test_a_comment_goes_on_below_itself() -> None:
    text = "journey: a    # one\n              # two\nstatus: live\n"
    assert laid_out(JourneyConfig, text) == text


def test_what_no_section_knows_keeps_its_order() -> None:
    text = "zebra: 1\nant: {z: 1, a: 2}\njourney: a\n"
    assert laid_out(JourneyConfig, text) == "journey: a\nzebra: 1\nant: {z: 1, a: 2}\n"
    assert laid_out(None, "b: 1\na: 2\n") == "b: 1\na: 2\n"


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2\n", "", "a: &x 1\n"])
def test_what_cannot_be_read_is_left_alone(text: str) -> None:
    with pytest.raises(LayoutError):
        laid_out(None, text)


def test_a_comment_that_would_be_lost_is_kept() -> None:
    with pytest.raises(LayoutError, match="would lose a comment"):
        laid_out(JourneyConfig, "status: live\ntrigger: {events: [a],\n  # which\n  max_age: 1d}\n")


@pytest.mark.parametrize("name", ORDER)
def test_the_order_knows_every_key(name: str) -> None:
    [model] = {each for _, root in FILES.values() for each in sections(root) if each.__name__ == name}
    assert {field.alias or key for key, field in model.model_fields.items()} <= set(ORDER[name])


def sections(model, seen=None):
    from pipeline.config.reference import _sections  # noqa: PLC0415

    return [model, *_sections(model)]


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("hookline", "hookline.yaml"),
        ("journey", "journeys/purchase_thanks.yaml"),
        ("destination", "destinations/crm.yaml"),
        ("env", "env/test.yaml"),
    ],
)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_it_never_changes_what_a_file_means(kind: str, file: str, seed: int) -> None:
    """A valid file, its keys shuffled, indented and quoted at random, comments in between."""
    scrambled = scramble((CDNOW / file).read_text(), random.Random(seed))
    made = laid_out(FILES[kind][1], scrambled)
    assert tree(made) == tree(scrambled)
    assert laid_out(FILES[kind][1], made) == made
    assert [line for line in made.split("\n") if line != line.rstrip()] == []
    for number in range(20):
        assert scrambled.count(f"# c{number}\n") == made.count(f"# c{number}\n")


LEAVES = (
    st.text(string.printable.replace("\x0b", "").replace("\x0c", "").replace("\r", "") + "é…😀", max_size=12)
    | st.integers(-99, 99)
    | st.booleans()
    | st.floats(-9, 9).map(lambda each: round(each, 2))
)
TREES = st.recursive(
    LEAVES,
    lambda below: (
        st.lists(below, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from(["step", "call", "kind", "when", "payload", "x", "${y"]), below, min_size=1)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(TREES, st.integers(0, 2**32))
def test_whatever_a_payload_holds(payload: object, seed: int) -> None:
    out = io.StringIO()
    document = {"steps": [{"payload": {"content": payload}, "step": "a"}], "journey": "a"}
    YAML().dump(styled(document, random.Random(seed)), out)
    text = out.getvalue()
    if parse("a.yaml", text.encode(), Places())[1]:
        return  # beyond our YAML, such as a key of two lines
    made = laid_out(JourneyConfig, text)
    assert tree(made) == tree(text)
    assert laid_out(JourneyConfig, made) == made


def scramble(text: str, dice: random.Random) -> str:
    source = YAML(typ="safe", pure=True).load(text)
    out = io.StringIO()
    rounds = YAML()
    rounds.width = 10_000
    offset = dice.choice([0, 2])
    rounds.indent(mapping=dice.choice([2, 3, 4]), sequence=offset + dice.choice([2, 3]), offset=offset)
    rounds.dump(styled(source, dice), out)
    lines = []
    for number, line in enumerate(out.getvalue().split("\n")):
        if number < 20 and dice.random() < 0.3 and ":" in line:
            lines.append(" " * (len(line) - len(line.lstrip(" -"))) + f"# c{number}")
        lines += [""] * dice.choice([0, 0, 0, 1, 2])
        lines.append(line + dice.choice(["", "", "  "]))
    return "\n".join(lines) + "\n"


def styled(node: object, dice: random.Random, *, flow: bool = False) -> object:
    flow = flow or dice.random() < 0.15
    if isinstance(node, dict):
        made = CommentedMap()
        for key in dice.sample(list(node), len(node)):
            made[key] = styled(node[key], dice, flow=flow)
        (made.fa.set_flow_style if flow else made.fa.set_block_style)()
        return made
    if isinstance(node, list):
        items = CommentedSeq(styled(each, dice, flow=flow) for each in node)
        (items.fa.set_flow_style if flow else items.fa.set_block_style)()
        return items
    if isinstance(node, str):
        if "\n" in node and not flow and dice.random() < 0.5:
            return LiteralScalarString(node)
        return dice.choice([str, SingleQuotedScalarString, DoubleQuotedScalarString])(node)
    return node
