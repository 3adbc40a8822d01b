"""A seeded generator of toy word problems, in disjoint splits.

A problem is a chain of 2 to 5 operations on one running amount. The split a question belongs to
is read off the hash of its text, so that no question can ever be in two splits, whatever the
seeds and however many are drawn.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

from drp_plugin.student import stories
from drp_plugin.student.stories import Story, sentence

SPLITS = ("pretrain", "sft", "eval")
_LEVELS = ("steps2", "steps3", "steps4", "ood")
_SYMBOL = {"add": "+", "sub": "-", "mul": "*", "div": "/", "price": "*", "product": "*"}


@dataclass(frozen=True)
class Operation:
    """One operation of the chain, `left symbol right = result`, and the clause that tells it."""

    clause: str
    symbol: str
    left: int
    right: int
    result: int

    @property
    def expression(self) -> str:
        return f"{self.left} {self.symbol} {self.right}"

    @property
    def equation(self) -> str:
        return f"{self.expression} = {self.result}"


@dataclass(frozen=True)
class Problem:
    """A word problem with everything that a solution needs to be written down."""

    level: str
    opening: str
    """The clause with the first amount (it is also the first step's when that is a product)."""
    steps: tuple[Operation, ...]
    noise: tuple[tuple[int, str], ...]
    """Clauses that change nothing, each with the index of the step it stands before."""
    goal: str
    """What is asked, to follow "how many"."""
    unit: str

    @property
    def answer(self) -> int:
        return self.steps[-1].result

    @property
    def clauses(self) -> tuple[str, ...]:
        """All statements of the question, in order."""
        clauses = [self.opening]
        for index, step in enumerate(self.steps):
            clauses += [text for before, text in self.noise if before == index and index > 0]
            if step.clause != self.opening:
                clauses.append(step.clause)
        return tuple(clauses)

    @property
    def question(self) -> str:
        facts = " ".join(sentence(clause) for clause in self.clauses)
        return f"{facts} Find how many {self.goal}."


@dataclass(frozen=True)
class _Range:
    """How large the numbers of a level are."""

    first: tuple[int, int]
    change: tuple[int, int]
    factor: int
    """Largest factor or divisor."""
    limit: int
    """No amount goes above this."""
    scaled: int
    """No amount above this is multiplied."""


_SMALL = _Range(first=(4, 80), change=(2, 40), factor=5, limit=150, scaled=30)
_LARGE = _Range(first=(30, 150), change=(10, 60), factor=5, limit=300, scaled=50)


def levels() -> tuple[str, ...]:
    """The levels, easy to hard; `ood` is the one that the `sft` split does not have."""
    return _LEVELS


def split_of(question: str) -> str:
    """The split a question's text belongs to: one in ten `eval`, two in ten `sft`."""
    bucket = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") % 10
    return "eval" if bucket == 0 else "sft" if bucket < 3 else "pretrain"


def stream(split: str, level: str, rng: random.Random) -> Iterator[Problem]:
    """Endless problems of a split and level, drawn with `rng` (repeats are possible).

    Raises `ValueError` for an unknown split or level, and for `ood` in the `sft` split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    if level not in _LEVELS:
        raise ValueError(f"unknown level {level!r}: choose one of {', '.join(_LEVELS)}")
    if split == "sft" and level == "ood":
        raise ValueError("the sft split has no 'ood' problems: that is what makes them ood")
    return _stream(split, level, rng)


def _stream(split: str, level: str, rng: random.Random) -> Iterator[Problem]:
    while True:
        problem = _draw(level, rng)
        if problem is not None and split_of(problem.question) == split:
            yield problem


def questions(split: str, level: str, n: int, seed: int = 0) -> list[dict]:
    """`n` different problems as `{"id", "question", "answer", "level"}`, answer as text.

    The same arguments always give the same problems, and a larger `n` only adds to them.
    Raises what `stream` raises.
    """
    found: dict[str, dict] = {}
    for problem in stream(split, level, random.Random(f"{split}/{level}/{seed}")):
        if len(found) >= n:
            break
        text = problem.question
        name = f"{split}-{level}-{seed}-{len(found):04d}"
        row = {"id": name, "question": text, "answer": str(problem.answer), "level": level}
        found.setdefault(text, row)
    return list(found.values())


def _draw(level: str, rng: random.Random) -> Problem | None:
    """One problem, or None where the chain ran into a dead end."""
    if level == "ood":
        size = _LARGE
        story = rng.choice(stories.UNFAMILIAR * 2 + stories.FAMILIAR)
        length = rng.choice((3, 3, 4, 5))
    else:
        size, story, length = _SMALL, rng.choice(stories.FAMILIAR), int(level[-1])
    words = _words(story, rng)
    people = rng.sample(stories.NAMES, k=length + 2)
    _set_people(words, people)

    steps: list[Operation] = []
    noise: list[tuple[int, str]] = []
    if rng.random() < 0.3:
        a, b = rng.randint(2, size.factor), rng.randint(3, 12 if size is _SMALL else 30)
        amount = a * b
        opening = rng.choice(story.product).format(**words, a=a, b=b)
        steps.append(Operation(opening, "*", a, b, amount))
    else:
        amount = rng.randint(*size.first)
        opening = rng.choice(story.start).format(**words, n=amount)

    noises = rng.sample(story.noise, k=len(story.noise))
    noisy = rng.sample(range(1, length), k=rng.choice((1, 2, 2))) if level == "ood" else []
    while len(steps) < length:
        if len(steps) in noisy:
            wording = noises.pop()
            noise.append((len(steps), wording.format(**words, n=rng.randint(2, 40))))
        last = len(steps) == length - 1
        choice = _operation(story, amount, size, last, rng)
        if choice is None:
            return None
        operation, number, result = choice
        if story.chain and operation != "price":
            words["next"] = people[1][0]
        clause = rng.choice(getattr(story, operation)).format(**words, n=number)
        steps.append(Operation(clause, _SYMBOL[operation], amount, number, result))
        amount = result
        if story.chain and operation != "price":
            people = people[1:]
            _set_people(words, people)
        if operation == "price":
            return Problem(level, opening, tuple(steps), tuple(noise),
                           story.ask_price.format(**words), "dollars")  # fmt: skip
    return Problem(level, opening, tuple(steps), tuple(noise),
                   story.ask.format(**words), words["things"])  # fmt: skip


def _words(story: Story, rng: random.Random) -> dict[str, str]:
    place, goods = rng.choice(stories.STORES)
    things = {"store": goods, "money": "dollars", "train": "passengers", "tank": "litres"}
    return {
        "place": place,
        "things": things.get(story.name) or rng.choice(stories.THINGS),
        "boxes": rng.choice(stories.BOXES),
    }


def _set_people(words: dict[str, str], people: list[tuple[str, str]]) -> None:
    (who, he), (friend, _) = people[0], people[1]
    him = "him" if he == "he" else "her"
    words.update(who=who, he=he, him=him, friend=friend)


def _operation(
    story: Story, amount: int, size: _Range, last: bool, rng: random.Random
) -> tuple[str, int, int] | None:
    """An operation that keeps the amount a whole number within the level's size."""
    low, high = size.change
    factors = [k for k in range(2, size.factor + 1) if amount * k <= size.limit]
    if amount > size.scaled:
        factors = []
    divisors = [k for k in range(2, size.factor + 1) if amount % k == 0 and amount // k >= 3]
    able: list[tuple[str, float]] = []
    if amount + low <= size.limit:
        able.append(("add", 0.35))
    if amount - low >= 2:
        able.append(("sub", 0.35))
    if factors:
        able.append(("mul", 0.18))
    if divisors:
        able.append(("div", 0.18))
    if factors and last and story.price:
        able.append(("price", 0.2))
    if not able:
        return None
    operation = rng.choices([name for name, _ in able], [weight for _, weight in able])[0]
    if operation == "add":
        number = rng.randint(low, min(high, size.limit - amount))
        return operation, number, amount + number
    if operation == "sub":
        number = rng.randint(low, min(high, amount - 2))
        return operation, number, amount - number
    if operation == "div":
        number = rng.choice(divisors)
        return operation, number, amount // number
    number = rng.choice(factors)
    return operation, number, amount * number
