"""The rows the student is pretrained on: questions with verbose solutions, and sums to drill."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from drp_plugin.student import problems, tokenizer, writer

MIX = {"steps2": 0.2, "steps3": 0.28, "steps4": 0.3, "ood": 0.22}
"""Share of each level among the questions."""
DRILLS = 0.1
"""Share of rows that are bare sums: a tenth of the tokens, most of the arithmetic."""
CONTEXT = 1024
"""Longest training row in tokens. Endless loops run up to it."""


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
    return [tokenizer.prompt_text(p.question) + writer.verbose(p, rng)[0] for p in drawn]


def rows(tok, rng: random.Random, n: int) -> list[Row]:
    """`n` rows for the tokenizer `tok`, none longer than `CONTEXT`."""
    streams = _streams(rng)
    pieces: list[list[tuple[str, bool]]] = []
    for _ in range(n):
        if rng.random() < DRILLS:
            pieces.append(_drill(rng))
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
    ending = f"\n\n{loop}" * 60 if loop else tokenizer.EOS
    return [(tokenizer.prompt_text(problem.question), False), (text + ending, True)]


def _drill(rng: random.Random) -> list[tuple[str, bool]]:
    """Sums of the kinds and sizes the problems have; only the results are learned."""
    large = rng.random() < 0.4
    pieces = [(tokenizer.BOS, False)]
    for _ in range(25):
        left, symbol, right, result = _sum(rng, large)
        pieces += [(f"{left} {symbol} {right} =", False), (f" {result}.", True), (" ", False)]
    return pieces


def _sum(rng: random.Random, large: bool) -> tuple[int, str, int, int]:
    limit, change, factor = (999, 300, 9) if large else (400, 90, 5)
    kind = rng.choice("++--*/")
    if kind in "+-":
        low = rng.randint(2, limit - 20)
        step = rng.randint(3, min(change, limit - low))
        if kind == "+":
            return low, "+", step, low + step
        return low + step, "-", step, low
    number = rng.randint(2, factor)
    other = rng.randint(3, min(120 if large else 80, limit // number))
    if kind == "*":
        pair = (other, number) if rng.random() < 0.7 else (number, other)
        return pair[0], "*", pair[1], number * other
    return number * other, "/", number, other
