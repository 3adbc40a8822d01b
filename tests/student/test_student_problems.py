"""The word problems: disjoint splits, the same for the same seed, and right."""

import ast
import itertools
import operator
import random
import re

import pytest
from checkout import script

from drp_plugin import student

problems = script("scripts/student/problems.py")
writer = script("scripts/student/writer.py")

_DO = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: divmod}


def _compute(expression: str) -> int:
    node = ast.parse(expression, mode="eval").body
    value = _DO[type(node.op)](node.left.value, node.right.value)
    if isinstance(value, tuple):
        assert value[1] == 0
        value = value[0]
    return value


def _drawn(split: str, level: str, n: int) -> list:
    return list(itertools.islice(problems.stream(split, level, random.Random(5)), n))


def test_splits_share_no_question():
    seen: dict[str, set[str]] = {}
    for split in problems.SPLITS:
        chosen = [level for level in problems.levels() if (split, level) != ("sft", "ood")]
        rows = [
            r for seed in (0, 1) for x in chosen for r in problems.questions(split, x, 300, seed)
        ]
        seen[split] = {row["question"] for row in rows}
    for one, other in itertools.combinations(problems.SPLITS, 2):
        assert not seen[one] & seen[other]


def test_there_are_enough_unseen_problems():
    rows = [row for level in problems.levels() for row in problems.questions("eval", level, 400)]
    assert len({row["question"] for row in rows}) >= 1500
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_same_seed_gives_the_same_problems():
    first = problems.questions("eval", "steps3", 20, seed=3)
    assert first == problems.questions("eval", "steps3", 30, seed=3)[:20]
    assert first != problems.questions("eval", "steps3", 20, seed=4)


def test_rows_have_the_promised_fields():
    row = problems.questions("sft", "steps2", 1)[0]
    assert set(row) == {"id", "question", "answer", "level"}
    assert isinstance(row["answer"], str)


@pytest.mark.parametrize(
    ("split", "level"), [("sft", "ood"), ("test", "steps2"), ("eval", "steps9")]
)
def test_what_does_not_exist_is_refused(split, level):
    with pytest.raises(ValueError):
        problems.questions(split, level, 1)


@pytest.mark.parametrize("level", problems.levels())
def test_gold_answers_follow_from_the_question(level):
    for problem in _drawn("eval", level, 200):
        given = [int(number) for number in re.findall(r"\d+", problem.question)]
        amounts = set(given)
        for step in problem.steps:
            assert step.left in amounts and step.right in given
            amounts.add(_compute(step.expression))
        assert _compute(problem.steps[-1].expression) == problem.answer
        assert 0 < problem.answer < 1000


def test_a_hand_made_reading_of_the_questions_agrees():
    """The plainest stories, solved from the words alone."""
    more, less = (
        r"(?:\d+ new|brings|add|has (?=\d+ more))",
        r"(?:taken away|damaged|Visitors|fewer)",
    )
    solved = 0
    for row in problems.questions("eval", "steps3", 600):
        parts = row["question"].split(". ")
        numbers = [re.findall(r"\d+", part) for part in parts]
        amount = int(numbers[0][0])
        if len(numbers[0]) != 1:
            continue
        for part, found in zip(parts[1:-1], numbers[1:-1], strict=True):
            if re.search(less, part):
                amount -= int(found[0])
            elif re.search(more, part):
                amount += int(found[0])
            else:
                break
        else:
            assert str(amount) == row["answer"], row
            solved += 1
    assert solved > 30


@pytest.mark.parametrize("level", problems.levels())
def test_verbose_solutions_are_right_and_long(level):
    rng = random.Random(0)
    long = short = 0
    for problem in _drawn("pretrain", level, 100):
        text, loop = writer.verbose(problem, rng)
        if loop:
            assert "</think>" not in text and text.endswith(loop)
            continue
        thinking, _, answer = text.partition("\n</think>\n\n")
        assert thinking.startswith("<think>\n")
        assert answer.endswith(f"\\boxed{{{problem.answer}}}")
        for left, result in re.findall(r"(\d+ [-+*/] \d+) = (\d+)", text):
            assert _compute(left) == int(result)
        long, short = long + len(text), short + len(writer.minimal(problem, rng))
    assert long > 2.2 * short


def test_some_solutions_never_end():
    rng = random.Random(0)
    loops = [bool(writer.verbose(p, rng)[1]) for p in _drawn("pretrain", "steps2", 2000)]
    assert 0.03 < sum(loops) / 2000 < 0.07


@pytest.mark.parametrize(("split", "level"), [
    ("sft", "steps2"), ("eval", "steps4"), ("eval", "ood")])
def test_what_ships_is_what_the_generator_makes(split, level):
    assert student.questions(split, level, 300) == problems.questions(split, level, 300)


@pytest.mark.parametrize("level", student.LEVELS)
def test_settings_are_chosen_on_other_problems_than_the_tests(level):
    tested, chosen_on = ({row["question"] for row in student.questions(split, level, n)}
                         for split, n in (("eval", 800), ("dev", 400)))
    assert len(chosen_on) == 400
    assert not tested & chosen_on


def test_more_than_ship_or_another_split_is_refused():
    with pytest.raises(ValueError, match="ship"):
        student.questions("eval", "ood", 10_000)
    with pytest.raises(ValueError, match="sft:ood"):
        student.questions("sft", "ood", 1)
