"""The rows the student is pretrained on: questions with verbose solutions, and sums to drill."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import vocabulary
import writer

from drp_plugin.student import problems

MIX = {"steps2": 0.15, "steps3": 0.23, "steps4": 0.31, "ood": 0.31}
"""Share of each level among the questions."""


@dataclass(frozen=True)
class Sums:
    """How large the numbers of drilled sums are."""

    limit: int
    """Largest sum or difference."""
    change: int
    """Largest number that is added or subtracted."""
    factor: int
    scaled: int
    """Largest other factor."""


@dataclass(frozen=True)
class Stage:
    """A part of the curriculum."""

    steps: int
    """Optimiser steps; the last stage takes all that are left."""
    tokens: int
    """Tokens a batch."""
    drills: float
    """Share of rows that are bare sums, which teach arithmetic with far fewer tokens."""
    sums: tuple[Sums, ...]


_TINY = (Sums(99, 12, 5, 20), Sums(99, 12, 5, 20), Sums(199, 20, 5, 30))
_WIDE = (Sums(150, 40, 5, 30), Sums(300, 60, 5, 50))
CURRICULUM = (
    Stage(steps=700, tokens=2560, drills=0.8, sums=_TINY),
    Stage(steps=900, tokens=3072, drills=0.5, sums=_WIDE),
    Stage(steps=0, tokens=4096, drills=0.25, sums=_WIDE),
)
"""Arithmetic with small numbers first: with the full range from the start and few drills, it was
not learned at all within the tokens that a small machine can afford."""
CONTEXT = 1024
"""Longest training row in tokens. Endless loops end anywhere before it, but never
with the end token."""


@dataclass(frozen=True)
class Row:
    """Token ids, and for each whether the student is to learn it."""

    ids: list[int]
    learn: list[bool]


def texts(rng: random.Random, n: int) -> list[str]:
    """`n` whole texts, prompt and response, for training the tokenizer."""
    streams = _streams(rng)
    chosen = rng.choices(list(MIX), list(MIX.values()), k=n)
    drawn = (next(streams[level]) for level in chosen)
    return [vocabulary.prompt_text(p.question) + writer.verbose(p, rng)[0] for p in drawn]


def draw(tok, rng: random.Random, n: int, stage: Stage) -> list[Row]:
    """`n` rows of a stage for the tokenizer `tok`, none longer than `CONTEXT`."""
    streams = _streams(rng)
    pieces: list[list[tuple[str, bool]]] = []
    for _ in range(n):
        if rng.random() < stage.drills:
            pieces.append(_drill(rng, rng.choice(stage.sums)))
        else:
            level = rng.choices(list(MIX), list(MIX.values()))[0]
            pieces.append(_solution(next(streams[level]), rng))
    flat = [text for row in pieces for text, _ in row]
    encoded = iter(tok(flat, add_special_tokens=False)["input_ids"])
    result = []
    for row in pieces:
        ids: list[int] = []
        learn: list[bool] = []
        for _, wanted in row:
            part = next(encoded)
            ids += part
            learn += [wanted] * len(part)
        result.append(Row(ids[:CONTEXT], learn[:CONTEXT]))
    return result


def _streams(rng: random.Random) -> dict[str, Iterator[problems.Problem]]:
    return {level: problems.stream("pretrain", level, rng) for level in MIX}


def _solution(problem: problems.Problem, rng: random.Random) -> list[tuple[str, bool]]:
    text, loop = writer.verbose(problem, rng)
    ending = f"\n\n{loop}" * rng.randint(4, 40) if loop else vocabulary.EOS
    return [(vocabulary.prompt_text(problem.question), False), (text + ending, True)]


def _drill(rng: random.Random, size: Sums) -> list[tuple[str, bool]]:
    """Sums of the kinds and sizes the problems have; only the results are learned."""
    pieces = [(vocabulary.BOS, False)]
    for _ in range(25):
        left, symbol, right, result = _sum(rng, size)
        pieces += [(f"{left} {symbol} {right} =", False), (f" {result}.", True), (" ", False)]
    return pieces


def _sum(rng: random.Random, size: Sums) -> tuple[int, str, int, int]:
    kind = rng.choice("+++---*/")
    if kind in "+-":
        step = rng.randint(2, size.change)
        low = rng.randint(2, size.limit - step)
        if kind == "+":
            return low, "+", step, low + step
        return low + step, "-", step, low
    number, other = rng.randint(2, size.factor), rng.randint(3, size.scaled)
    if kind == "*":
        pair = (other, number) if rng.random() < 0.7 else (number, other)
        return pair[0], "*", pair[1], number * other
    return number * other, "/", number, other
