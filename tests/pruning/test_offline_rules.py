"""The rule teacher: what it drops, what it must never drop, and the formats it speaks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from checkout import script
from scripted import words

from drp_plugin.errors import UserError
from drp_plugin.grading import equal, extract
from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.llm.messages import Message, Request, Sampling, TeacherError
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.pruning.flow import prune_trace
from drp_plugin.reading import traces
from drp_plugin.records import Pruned, Reason, Reject, Trace
from drp_plugin.teachers.offline import OfflineTeacher
from drp_plugin.teachers.offline_cues import skill, statement, tighten
from drp_plugin.teachers.registry import make_teacher
from drp_plugin.thinking import split_response

MODES = ("skill", "default", "sentence", "indexed")


def prune(trace: Trace, mode: str = "skill", **more: object) -> Pruned | Reject:
    teacher = OfflineTeacher(words)
    options = PruneOptions(decompose=mode, **more)  # type: ignore[arg-type]
    return asyncio.run(prune_trace(trace, RowClient(teacher.ask), options, prompts=Prompts(),
                                   count=words))


def thinking(row: Pruned | Reject) -> str:
    assert isinstance(row, Pruned), row
    return split_response(row.response).thinking


GARDEN = Trace(
    id="garden", answer="42", dataset="gsm8k", model="student",
    question="A garden has 6 beds with 9 roses in each. A storm breaks 12 roses. How many roses "
             "are left?",
    response="""<think>
Okay, so I need to find out how many roses are left after the storm. Hmm, let me think about this.

The problem says that a garden has 6 beds with 9 roses in each. Got it.

So first, I should multiply. Maybe I should add 6 and 9, so 6 + 9 = 15. Wait, no, that's not \
right. I need to multiply here. So 6 * 9 = 54 roses. Let me double-check that. 54 / 9 = 6. Yes, \
that's right.

Then the storm breaks 12 roses, so 54 - 12 = 42.

So the answer should be 42.

Wait, let me verify the whole thing again. 6 * 9 = 54 and 54 - 12 = 42. Okay, that matches.

Alternatively, I could think of it as 4 full beds and some roses more. 4 * 9 = 36, and \
36 + 6 = 42. So yes, it's 42.

**Final Answer**
\\boxed{42}
</think>

First, 6 * 9 = 54. Then 54 - 12 = 42.

**Answer:** \\boxed{42}""")


@pytest.mark.parametrize("mode", MODES)
def test_ballast_goes_and_the_chain_stays(mode: str) -> None:
    row = prune(GARDEN, mode)
    text = thinking(row)
    assert "6 * 9 = 54" in text and "54 - 12 = 42" in text
    assert text.endswith("The answer is 42.") or text.endswith("the answer should be 42.")
    for ballast in ("15", "36", "verify", "double-check", "Alternatively", "Hmm", "Okay", "Wait",
                    "54 / 9", "boxed", "Final Answer", "Got it", "not right"):
        assert ballast not in text, text
    assert text.count("6 * 9 = 54") == 1
    assert isinstance(row, Pruned) and row.tokens_after < 0.5 * row.tokens_before
    assert split_response(row.response).answer == split_response(GARDEN.response).answer


def test_a_number_that_only_a_dropped_clause_gave_comes_back() -> None:
    trace = GARDEN.model_copy(update={"response": """<think>
I need to find the roses that are left. Let me check how many there were: 6 * 9 = 54 roses.

Let me double-check the storm too. It took 12, as I know. So 54 - 12 = 42 are left.

The answer is 42.
</think>

\\boxed{42}"""})
    assert "6 * 9 = 54" in thinking(prune(trace))


def test_an_intermediate_result_that_equals_the_answer_is_not_the_end() -> None:
    trace = Trace(id="pairs", question="How many of the 24 orders of 4 students keep two apart?",
                  answer="12", response="""<think>
There are 3 units, so 3! * 2 = 6 * 2 = 12 orders have the two students together.

Wait, let me double-check that. 6 * 2 = 12. Yes.

Then 24 - 12 = 12 orders keep them apart.

Therefore, the answer is 12.
</think>

The two stand together in 6 * 2 = 12 orders, and 24 - 12 = 12. So it is \\boxed{12}.""")
    for mode in MODES:
        assert "24 - 12 = 12" in thinking(prune(trace, mode))


def test_skills() -> None:
    assert skill("So 45 + 12 = 57.") == "Addition"
    assert skill("That gives 57 - 12 = 45.") == "Subtraction"
    assert skill("6 × 9 = 54") == "Multiplication"
    assert skill("120 / 0.4 = 300") == "Division"
    assert skill("Let me double-check that.") == "Checking"
    assert skill("Hmm, let me think.") == "Hesitating"
    assert skill("Therefore, the answer is 5.") == "Concluding"
    assert skill("Joy reads 8 pages in 20 minutes.") == "Interpreting a quantity"
    assert skill("The formula for combinations: C(n, k)") == "Applying a formula"
    assert skill("This simplifies to 3/4.") == "Simplifying"


@pytest.mark.parametrize(("before", "after"), [
    ("Okay, so 5 + 3 = 8.", "So 5 + 3 = 8."), ("Hmm, the rate is 4, right?", "The rate is 4."),
    ("Wait, I think that x is 5.", "x is 5."), ("Right angles have it.", "Right angles have it."),
    ("Alright.", ""), ("So,", ""), ("I know that P(A) is 1/3.", "P(A) is 1/3."),
    ("So it is \\boxed{\\frac{1}{2}}.", "So it is \\frac{1}{2}."), ("x = 5", "x = 5")])
def test_sentences_said_with_fewer_words(before: str, after: str) -> None:
    assert tighten(before) == after


def test_the_statement() -> None:
    assert statement("42") == "The answer is 42."
    assert statement("\\frac{1}{2}") == "The answer is $\\frac{1}{2}$."


def request(text: str, **sampling: object) -> Request:
    return Request(messages=(Message(role="user", content=text),),
                   sampling=Sampling(**sampling))  # type: ignore[arg-type]


def test_it_knows_what_it_is() -> None:
    assert OfflineTeacher.name == "offline:rules"
    with pytest.raises(TeacherError, match="rules, no language model") as caught:
        asyncio.run(OfflineTeacher().ask(request("Solve: 3 + 4")))
    assert caught.value.reason is Reason.REFUSED


def test_it_obeys_max_tokens_as_a_model_does() -> None:
    prompt = Prompts().render("decompose_skill", question="q", part=1, more=False,
                              reasoning="One two three. " * 50)
    teacher = OfflineTeacher(words)
    cut = asyncio.run(teacher.ask(request(prompt, max_tokens=10)))
    assert cut.finish_reason == "length" and words(cut.text) <= 10
    whole = asyncio.run(teacher.ask(request(prompt)))
    assert whole.finish_reason == "stop" and whole.text.startswith(cut.text.rstrip())
    assert whole.usage.completion_tokens == words(whole.text)


def test_a_teacher_with_little_output_still_gets_through() -> None:
    long = GARDEN.model_copy(update={"response": GARDEN.response.replace(
        "Then the storm", "\n\n".join(f"A bird sat in bed {i}." for i in range(60))
        + "\n\nThen the storm")})
    row = prune(long, "skill", sampling=Sampling(max_tokens=150))
    assert "54 - 12 = 42" in thinking(row)
    assert isinstance(row, Pruned) and row.coverage == 1.0 and row.usage.requests > 4


@pytest.mark.parametrize("mode", ["skill", "indexed"])
def test_windows_lose_nothing(mode: str) -> None:
    row = prune(GARDEN, mode, window_tokens=50)
    assert isinstance(row, Pruned), row
    assert row.usage.requests > (2 if mode == "skill" else 1)
    body = split_response(GARDEN.response).thinking
    assert "".join("".join(s.text.split()) for s in row.steps) == "".join(body.split())
    assert "54 - 12 = 42" in thinking(row)


@pytest.mark.parametrize("mode", ["skill", "indexed"])
def test_the_embedded_students_way_of_thinking(mode: str) -> None:
    """Complete chains remain, in well under half of the tokens of the thinking."""
    problems = script("scripts/student/problems.py")
    writer = script("scripts/student/writer.py")

    before = after = 0
    for level in problems.levels():
        rng = random.Random(level)
        for number, problem in zip(range(6), problems.stream("eval", level, rng), strict=False):
            response, loop = writer.verbose(problem, rng)
            trace = Trace(id=f"{level}-{number}", question=problem.question, response=response,
                          answer=str(problem.answer))
            row = prune(trace, mode)
            if loop:
                assert isinstance(row, Reject) and row.reason is Reason.NO_THINK_END
                continue
            text = thinking(row)
            for step in problem.steps:
                assert step.equation in text, (response, text)
            assert extract(text, thinking=False).text == str(problem.answer)
            before += words(split_response(response).thinking)
            after += words(text)
    assert after < 0.5 * before


@pytest.mark.data
@pytest.mark.parametrize("mode", ["skill", "indexed"])
def test_the_real_traces(data_dir: Path, mode: str) -> None:
    """Every row ends in pruned or in rejects with its reason, and no final answer changes."""
    rows = list(traces(data_dir / "traces_math_train_r1distill.jsonl"))
    assert len(rows) == 240
    reasons: Counter[Reason] = Counter()
    before = after = 0
    for trace in rows:
        assert isinstance(trace, Trace)
        row = prune(trace, mode)
        if isinstance(row, Reject):
            reasons[row.reason] += 1
            continue
        was, now = extract(trace.response).text, extract(row.response).text
        assert was is not None and now is not None and trace.answer is not None
        assert now == was or equal(now, was, trace.dataset)
        said = extract(split_response(row.response).thinking[-400:], thinking=False)
        assert said.how in ("boxed", "stated")
        assert row.coverage == 1.0
        before, after = before + row.tokens_before, after + row.tokens_after
    assert reasons == {Reason.WRONG_ANSWER: 20}
    assert after < 0.5 * before


def test_a_weaker_stand_in_turns_judgements_round_and_says_so():
    """The lower its quality, the more of the rules' decisions differ; the same ones each time."""
    def at(quality: float) -> str:
        teacher = make_teacher(f"offline:{quality:g}")
        assert teacher.name == f"offline:rules@{quality:g}"
        row = asyncio.run(prune_trace(
            GARDEN, RowClient(teacher.ask), PruneOptions(teacher=teacher.name), prompts=Prompts(),
            count=words))
        assert isinstance(row, Reject) or row.teacher == teacher.name
        return row.raw if isinstance(row, Reject) else row.response

    best, good, poor = prune(GARDEN).response, at(0.9), at(0.5)
    assert good == at(0.9) and len({best, good, poor}) == 3
    assert make_teacher("offline:1").name == make_teacher("offline").name == "offline:rules"
    for spec in ("offline:0", "offline:1.1", "offline:rules", "offline:nan"):
        with pytest.raises(UserError, match="such as"):
            make_teacher(spec)
