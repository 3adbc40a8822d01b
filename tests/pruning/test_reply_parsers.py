"""Replies in format, nearly in format, and out of it."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drp_plugin.pruning.dialogue import FormatError
from drp_plugin.pruning.indexed import parse_indexed, whole_parts
from drp_plugin.pruning.revise import parse_revision
from drp_plugin.pruning.steps import Located, coverage, locate, parse_steps
from drp_plugin.records import Action
from drp_plugin.thinking import join_response, split_response

EXAMPLES = int(os.environ.get("DRP_FUZZ", "150"))


def test_steps_in_the_papers_format() -> None:
    reply = "Step 1: Joy reads.\n\nSkill: Reading\n\nStep 2: 8 / 20\n= 0.4\nSkill: Division\n"
    assert [(s.text, s.skill) for s in parse_steps(reply, skills=True)] == [
        ("Joy reads.", "Reading"), ("8 / 20\n= 0.4", "Division")]


@pytest.mark.parametrize("reply", [
    "**Step 1:** a b\n**Skill:** S\n\n**Step 2:** c\n**Skill:** S",
    "### Step 1: a b\n*Skill:* *S*\n### Step 2: c\nSkill: S.",
    "Here are the steps:\nStep 1: {{a b}}\n\nSkill: {{S}}\nStep 2. {{c}}\nSkill: {{S}}",
])
def test_marks_that_models_add_are_taken_off(reply: str) -> None:
    assert [(s.text, s.skill) for s in parse_steps(reply, skills=True)] == [("a b", "S"),
                                                                           ("c", "S")]


def test_a_step_marker_inside_the_reasoning_is_text() -> None:
    steps = parse_steps("Step 1: We do it so.\nStep 1: add.\nSkill: A\nStep 2: end\nSkill: B",
                        skills=True)
    assert [s.text for s in steps] == ["We do it so.\nStep 1: add.", "end"]


@pytest.mark.parametrize(("reply", "says"), [
    ("I cannot do that.", "Step 1"), ("Step 1: \nSkill: S", "no text"),
    ("Step 1: a\nStep 2: b\nStep 3: c", "Skill")])
def test_steps_out_of_format(reply: str, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        parse_steps(reply, skills=True)


REVISION = """1. KEEP
**Step 2**: DELETE
Step 3: **SINGLE-STEP COMPRESS**
Revised: shorter
Steps 4-5: MULTI-STEP COMPRESS: both
in two lines
6. MULTI-STEP COMPRESS (steps 6 to 8): three in one
Step 7: MULTI-STEP COMPRESS (merged with step 6)
Step 9 - KEEP

## SYNTHESIS
All of it. The answer is 5.

## ANSWER
{{new answer}}"""


def test_a_revision_with_every_action() -> None:
    found = parse_revision(REVISION, range(1, 10))
    assert [(r.action, r.steps, r.text) for r in found.revisions] == [
        (Action.KEEP, (1,), None), (Action.DELETE, (2,), None), (Action.COMPRESS, (3,), "shorter"),
        (Action.MERGE, (4, 5), "both\nin two lines"), (Action.MERGE, (6, 7, 8), "three in one"),
        (Action.KEEP, (9,), None)]
    assert found.synthesis == "All of it. The answer is 5."
    assert found.answer == "new answer"


@pytest.mark.parametrize("answer", ["UNCHANGED", "**Unchanged**", "", "unchanged."])
def test_an_unchanged_answer(answer: str) -> None:
    found = parse_revision(f"1. KEEP\n\n## SYNTHESIS\nT.\n\n## ANSWER\n{answer}", range(1, 2))
    assert found.answer is None


def test_the_references_bare_mark() -> None:
    found = parse_revision("Step 1: KEEP\n\n## Okay, so it is 5. The answer is 5.", range(1, 2))
    assert found.synthesis == "Okay, so it is 5. The answer is 5."


@pytest.mark.parametrize("mark", ["```", "~~~", "```markdown", "\n ```text"])
@pytest.mark.parametrize("end", ["\n", "\n\n", ""])
@pytest.mark.parametrize("answer", ["", "\n\n## ANSWER\nUNCHANGED", "\n\n## ANSWER\nIt is 5."])
def test_a_reply_that_is_one_block_of_code(mark, end, answer):
    plain = f"Step 1: KEEP\n\n## SYNTHESIS\nT is 5.{answer}"
    fenced = f"{mark}\n{plain}{end}\n{mark.strip()[:3]}\n"
    assert parse_revision(fenced, range(1, 2)) == parse_revision(plain, range(1, 2))
    assert parse_revision(plain + "\n```\nx = 5\n```", range(1, 2)) != \
        parse_revision(plain, range(1, 2)), "a block inside is text"



def test_a_merge_goes_on_over_several_lines() -> None:
    found = parse_revision("Step 1: MULTI-STEP COMPRESS: both\nStep 2: MULTI-STEP COMPRESS\n"
                           "## SYNTHESIS\nT.", range(1, 3))
    assert [(r.action, r.steps) for r in found.revisions] == [(Action.MERGE, (1, 2))]


@pytest.mark.parametrize(("reply", "says"), [
    ("Sorry.", "Step 1: KEEP"), ("1. KEEP\n## SYNTHESIS\nT.", "no action: 2"),
    ("1. KEEP\n2. KEEP\n3. KEEP\n## SYNTHESIS\nT.", "step 3 was not given"),
    ("1. KEEP\n2. SINGLE-STEP COMPRESS\n## SYNTHESIS\nT.", "new text is missing"),
    ("1. KEEP\n2. KEEP", "SYNTHESIS"),
    ("1. KEEP\n1. SINGLE-STEP COMPRESS: t\n2. KEEP\n## SYNTHESIS\nT.", "more than one action")])
def test_a_revision_out_of_format(reply: str, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        parse_revision(reply, range(1, 3))


def item(u: object, a: str = "KEEP", **more: object) -> dict[str, object]:
    return {"u": u, "k": "S", "a": a, **more}


@pytest.mark.parametrize("ranges", [["1-2", "3"], [[1, 2], 3], ["1–2", "[3]"], ["1 to 2", [3, 3]]])
def test_ranges_as_models_write_them(ranges: list[object]) -> None:
    found, _ = parse_indexed("```json\n" + json.dumps({"steps": [item(u) for u in ranges]})
                             + "\n```", 1, 3)
    assert [(p.first, p.last) for p in found] == [(1, 2), (3, 3)]


@pytest.mark.parametrize(("value", "says"), [
    ("nothing", "not a JSON"), ('{"steps": [', "not JSON"), ({"steps": []}, "empty"),
    ({"answer": 1}, "no list"), ({"steps": [item("1-2"), item("4")]}, "next unit is 3"),
    ({"steps": [item("1-4")]}, "last one 3"), ({"steps": [item("1-2")]}, "3 to 3"),
    ({"steps": [item("1-3", "COMPRESS")]}, '"t" is empty'),
    ({"steps": [item("1-3", "MERGE")]}, "merged"), ({"steps": [item("1-3", "SHRINK")]}, "action"),
    ({"steps": [item("x")]}, "range"), ({"steps": [item("3-1")]}, "next unit"),
    ({"steps": [item("1-3")], "answer": 5}, "answer")])
def test_an_indexed_reply_out_of_format(value: object, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        parse_indexed(value if isinstance(value, str) else json.dumps(value), 1, 3)


def test_what_a_cut_indexed_reply_holds_whole() -> None:
    whole = json.dumps({"steps": [item("1"), item("2"), item("3-5")]})
    cut = whole[: whole.index('"3-5"') + 4]
    assert [(p.first, p.last) for p in whole_parts(cut, 1, 9)] == [(1, 1)]
    assert whole_parts("", 1, 9) == ()
    assert whole_parts("no", 1, 9) == ()


def located(text: str, *steps: str) -> list[Located]:
    return locate(text, [Located(step, None) for step in steps])


def test_steps_are_found_in_t() -> None:
    text = "First,  add 3\nand 4. That is 7. Now multiply 7 by 2 to get fourteen pages in all."
    found = located(text, "First, add 3 and 4.", "That is 7.",
                    "multiply 7 by 2 to get 14 pages in all.")
    assert [f.text for f in found[:2]] == ["First,  add 3\nand 4.", "That is 7."]
    assert found[2].start is not None and text[found[2].start :].startswith("multiply 7")
    assert 0.8 < coverage(text, found) < 1.0
    assert coverage("a b", located("a b", "ab")) == 1.0
    assert coverage(text, located(text, "Something else entirely, never said.")) == 0.0


def test_a_word_from_far_away_is_not_taken() -> None:
    text = "x " * 3000 + "So it is 5."
    assert located(text, "So")[0].start is None


FRAGMENTS = st.sampled_from([
    "Step 1:", "Step 2: ", "\nStep ", "Skill:", "\nSkill: x", "KEEP", "DELETE", "\n1. KEEP",
    "SINGLE-STEP COMPRESS", "MULTI-STEP COMPRESS: t", "(steps 1-3)", "\n## SYNTHESIS\n",
    "\n## ANSWER\n", "## ", "UNCHANGED", "{{", "}}", "**", "\n", " ", "1-2", "3", '{"steps":[',
    '{"u":"1","k":"s","a":"KEEP"}', '{"u":[1,2],"a":"MERGE","t":"x"}', ",", "]}", '"answer":null}',
    "null", "\\", '"', "<think>", "</think>", "9" * 30, "\u2028", "\x00", "\ud800", "漢", "$x$",
    "[[[[", "{{{{", "-", "–", "to", "and", "Revised:"])
REPLIES = st.lists(FRAGMENTS | st.text(max_size=8), max_size=40).map("".join)


@settings(max_examples=EXAMPLES, deadline=None)
@given(REPLIES, st.booleans(), st.integers(1, 4), st.text(max_size=40))
def test_no_reply_breaks_a_parser(reply: str, skills: bool, last: int, text: str) -> None:
    """Any text gives a value or FormatError, and spans that stay in order inside of T."""
    try:
        found = locate(text + reply, parse_steps(reply, skills=skills))
        at = 0
        for place in found:
            if place.start is not None and place.end is not None:
                assert at <= place.start < place.end <= len(text + reply)
                at = place.end
        assert 0 <= coverage(text + reply, found) <= 1
    except FormatError:
        pass
    try:
        revised = parse_revision(reply, range(1, last + 1))
        covered = [step for revision in revised.revisions for step in revision.steps]
        assert sorted(covered) == list(range(1, last + 1))
    except FormatError:
        pass
    try:
        parts, _ = parse_indexed(reply, 1, last)
        assert [n for p in parts for n in range(p.first, p.last + 1)] == list(range(1, last + 1))
    except FormatError:
        pass
    cut = whole_parts(reply, 1, last)
    assert [n for p in cut for n in range(p.first, p.last + 1)] == \
        list(range(1, 1 + sum(p.last - p.first + 1 for p in cut)))


@settings(max_examples=EXAMPLES, deadline=None)
@given(REPLIES)
def test_no_response_breaks_the_think_splitter(response: str) -> None:
    split = split_response(response)
    assert split.complete == ("</think>" in response)
    assert "</think>" not in split.answer
    if split.complete and "<think>" not in split.thinking and "</think>" not in split.thinking:
        assert split_response(join_response(split.thinking, split.answer)) == split
