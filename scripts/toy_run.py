"""Generated traces with formulas, and runs of them: for screenshots, benchmarks and tests.

Nobody's data: problems and sentences are made here, by a seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drp_plugin import jsonl
from drp_plugin.records import Action, Pruned, Reason, Reject, Revision, Step

Said = tuple[str, str, list[tuple[str, str, str | None]]]
_IDLE = ("Hmm, let me think about this for a moment.", "Wait, is that right?",
         "Let me read the problem once more to be sure.", "Okay, so that seems to work.",
         "Actually, let me double-check that.", "Alternatively, maybe there is a faster way.",
         "I should be careful with the signs here.", "So far, so good.")


def _fraction(r: random.Random) -> Said:
    b, d = r.randint(3, 9), r.randint(11, 19)
    a, c = r.randint(1, b - 1), r.randint(2, d - 1)
    top, bottom = a * d + c * b, b * d
    return (f"A spinner shows red with probability $\\frac{{{a}}}{{{b}}}$, a loaded die shows six "
            f"with probability $\\frac{{{c}}}{{{d}}}$. What is the sum of both probabilities?",
            f"\\frac{{{top}}}{{{bottom}}}", [
        (f"Okay, so I need to find the sum of \\(\\frac{{{a}}}{{{b}}}\\) and "
         f"\\(\\frac{{{c}}}{{{d}}}\\).",
         "Restating the problem", f"I need \\(\\frac{{{a}}}{{{b}}} + \\frac{{{c}}}{{{d}}}\\)."),
        (f"A common denominator of {b} and {d} is \\({b} \\cdot {d} = {bottom}\\).",
         "Finding a denominator", None),
        (f"So the first one becomes \\(\\frac{{{a * d}}}{{{bottom}}}\\), and the second one "
         f"becomes \\(\\frac{{{c * b}}}{{{bottom}}}\\), if I am not mistaken.",
         "Expanding fractions", f"So they are \\(\\frac{{{a * d}}}{{{bottom}}}\\) and "
         f"\\(\\frac{{{c * b}}}{{{bottom}}}\\)."),
        (f"Adding them gives \\[\\frac{{{a * d} + {c * b}}}{{{bottom}}} = "
         f"\\frac{{{top}}}{{{bottom}}}.\\]", "Addition", None)])


def _quadratic(r: random.Random) -> Said:
    x, y = r.randint(2, 9), r.randint(10, 30)
    return (f"The roots of $x^2 - {x + y}x + {x * y} = 0$ are $p < q$. Find $q - p$.", str(y - x), [
        (f"Right, so the equation that I am given is \\(x^2 - {x + y}x + {x * y} = 0\\).",
         "Restating the problem", f"The equation is \\(x^2 - {x + y}x + {x * y} = 0\\)."),
        (f"By Vieta, \\(p + q = {x + y}\\) and \\(pq = {x * y}\\).", "Vieta's formulas", None),
        (f"I am looking for two numbers with product {x * y} and sum {x + y}, and after some "
         f"trying I see that {x} and {y} do it.", "Factoring", f"{x} and {y} do it."),
        (f"So \\(q - p = {y} - {x} = {y - x}\\).", "Subtraction", None)])


def _shopping(r: random.Random) -> Said:
    n, price, have = r.randint(3, 12), r.randint(4, 25), r.randint(1, 40)
    return (f"Mara buys {n} books at ${price} each and then has ${have} left. "
            "How many dollars did she have?", str(n * price + have), [
        (f"Let me see, Mara buys {n} books, and each of them costs {price} dollars.",
         "Restating the problem", f"Mara buys {n} books at {price} dollars."),
        (f"They cost {n} * {price} = {n * price} dollars.", "Multiplication", None),
        (f"With the {have} that are left, she had {n * price} + {have} = {n * price + have}.",
         "Addition", None)])


def _written(number: int, seed: int, turns: int) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """A trace, and its sentences with skill, action and new text."""
    r = random.Random(f"{seed} {number}")
    kind = r.choice((_fraction, _quadratic, _shopping))
    question, answer, work = kind(r)
    said: list[tuple[Any, ...]] = []
    for turn in range(turns):
        for text, skill, new in work:
            if r.random() < 0.4:
                said.append((r.choice(_IDLE), "Hesitating", Action.DELETE, None))
            if turn:
                said.append((f"Checking: {text}", "Checking", Action.DELETE, None))
            else:
                said.append((text, skill, Action.COMPRESS if new else Action.KEEP, new))
    said.append((f"So the answer is {answer}.", "Concluding", Action.KEEP, None))
    thinking = "\n\n".join(text for text, *_ in said)
    return {"id": f"toy/{kind.__name__.strip('_')}/{number:05}", "question": question,
            "answer": answer, "model": "a student that was made up",
            "dataset": ("toy_words", "toy_algebra")[kind is not _shopping],
            "response": f"<think>\n{thinking}\n</think>\n\nThe answer is "
                        f"$\\boxed{{{answer}}}$."}, said


def traces(rows: int, seed: int = 1, turns: int = 2) -> Iterator[dict[str, Any]]:
    """Traces that `drp prune` can read; `turns` decides how often each goes over its work."""
    for number in range(rows):
        trace = _written(number, seed, turns)[0]
        if number % 9 == 7:  # one that is wrong, for a reject
            trace["answer"] = "1000003"
        yield trace


def write_run(folder: Path, rows: int, seed: int = 1, turns: int = 12) -> None:
    """A run directory of rows that look pruned: no teacher is asked, so 10,000 take seconds."""
    pruned, rejects = [], []
    for number in range(rows):
        trace, said = _written(number, seed, turns)
        if number % 20 == 7:
            rejects.append(Reject(id=trace["id"], stage="trace", reason=Reason.WRONG_ANSWER,
                                  detail="the student is wrong", row=trace))
            continue
        steps, at = [], 0
        for index, (text, skill, *_) in enumerate(said, start=1):
            steps.append(Step(index=index, text=text, skill=skill, start=at, end=at + len(text)))
            at += len(text) + 2
        kept = [new or text for text, _, action, new in said if action is not Action.DELETE]
        end = trace["response"].partition("</think>")[2].strip()
        response = "<think>\n" + "\n\n".join(kept) + f"\n</think>\n\n{end}"
        pruned.append(Pruned(
            **trace | {"response": response}, original=trace["response"], steps=tuple(steps),
            revisions=tuple(Revision(action=action, steps=(i,), text=new) for i, (_, _, action, new)
                            in enumerate(said, start=1)), coverage=1.0,
            tokens_before=len(trace["response"]) // 4, tokens_after=len(response) // 4,
            teacher="made up", prompts_hash="0",
            verdict={name: {"ok": True} for name in ("empty", "complete", "answer", "numbers")}))
    jsonl.write(folder / "pruned.jsonl", pruned)
    jsonl.write(folder / "rejects.jsonl", rejects)
