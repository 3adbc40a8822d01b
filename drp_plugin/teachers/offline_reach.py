"""Where a trace has its answer: everything behind that is re-checking."""

from __future__ import annotations

import re
from collections.abc import Sequence

from drp_plugin.teachers.offline_cues import (
    ALTERNATIVE,
    CHECK,
    CONCLUDE,
    CONFIRM,
    GUESS,
    STRONG,
    Clause,
)

_TRIVIAL = frozenset({"0", "1", "2"})
_RESULT_WORDS = (r"(?:[=≈]|\b(?:is|are|be|was|get|gets|gives|us|equals?|to|becomes?|has|have"
                 r"|total|leaves?|"
                 r"of|only|makes?|means|as|exactly)\b)[^\w=]{0,4}")


def plain(text: str) -> str:
    """Text in which the same value looks the same: `$\\dfrac{1}{4}$` and `1/4`."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!|,)(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text)
    text = re.sub(r"\\[dt]?frac(\d)(\d)", r"\1/\2", text)
    text = re.sub(r"\\sqrt\{([^{}]*)\}|\bsqrt\(([^()]*)\)", r"√\1\2", text)
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}", r"\1", text)
    text = text.replace("\\pi", "π").replace("\\infty", "∞").replace("\\cup", "∪")
    text = re.sub(r"\*\*|\\(?:left|right|boxed|!|,|;|quad|displaystyle)|\^\\circ|\^\{\\circ\}|°|\$"
                  r"|\\[()\[\]%]|\\(?=\$)", "", text)
    text = re.sub(r"\\(?:times|cdot)(?![a-zA-Z])|[*×⋅]", "·", text)
    text = re.sub(r"\bpi\b", "π", text)
    text = re.sub(r"\s*([-+=/^·,()\[\]<>≤≥])\s*", r"\1", text.replace("{", "").replace("}", ""))
    return re.sub(r"\s+", " ", text).strip().lower()


class Goal:
    """The final answer, and how to see that a clause states it."""

    def __init__(self, final: str | None) -> None:
        self.key = plain((final or "")[:500]).strip(" .")
        if self.key.count("=") == 1 and len(self.key.split("=")[0]) <= 4:
            self.key = self.key.split("=")[1]
        word = re.escape(self.key)
        end = r"(?![\w/^·]|\.\d|,\d|[-+]\w)"
        self._mention = re.compile(rf"(?<![\w./√^·]){word}{end}") if self.key else None
        self._result = re.compile(_RESULT_WORDS + word + end) if self.key else None

    def mentioned(self, clause: Clause) -> bool:
        return bool(self._mention and self._mention.search(plain(clause.body)))

    def stated(self, clause: Clause) -> bool:
        """Whether the clause gives it as a result."""
        if self._result is None or self._mention is None:
            return False
        text = plain(clause.body)
        if CONCLUDE.search(clause.body) or STRONG.search(clause.body):
            return bool(self._mention.search(text))
        return text.strip(" .") == self.key or bool(self._result.search(text))


def reach(clauses: Sequence[Clause], goal: Goal, question: str, answer: str) -> int:
    """Index of the clause that first states the final answer as the outcome of the reasoning.

    Not every mention will do: what the student's own answer part builds on must have come up by
    then, a guess does not count, and a value that the question states must be concluded.
    """
    given = {n.replace(",", "") for n in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", question)}
    stated = [i for i, clause in enumerate(clauses) if goal.stated(clause)]
    certain = [i for i in stated if not GUESS.search(clauses[i].body)]
    if not certain:
        concluding = [i for i, clause in enumerate(clauses) if CONCLUDE.search(clause.body)]
        if stated:
            return stated[-1]
        return concluding[0] if concluding else len(clauses) - 1
    needed = _needed(clauses, answer, given)
    least = _last_step(clauses, goal, answer)
    seen: set[str] = set()
    at = 0
    best: tuple[float, int] | None = None
    for i in certain:
        while at <= i:
            seen.update(clauses[at].numbers)
            at += 1
        share = len(needed & seen) / len(needed) if needed else 1.0
        concluded = bool(CONCLUDE.search(clauses[i].body) or STRONG.search(clauses[i].body))
        settled = concluded or _settled(clauses, i)
        if goal.key in given and not concluded:
            continue
        if i < least and not any(ALTERNATIVE.search(c.body) for c in clauses[i + 1 : i + 3]):
            continue
        if settled and share >= (0.75 if concluded else 0.85):
            return i
        if settled and (best is None or share > best[0] + 0.2):
            best = share, i
    return best[1] if best is not None else certain[-1]


def _last_step(clauses: Sequence[Clause], goal: Goal, answer: str) -> int:
    """Index of the clause with the calculation by which the answer part gets its result.

    0 where it has none, or the thinking does it otherwise. An intermediate result that happens
    to equal the final one is not taken for it.
    """
    body = re.split(r"\b(?:verif|check|confirm)", answer, maxsplit=1, flags=re.IGNORECASE)[0]
    ending = re.compile(rf"([^=≈,;:]{{1,120}})[=≈] ?{re.escape(goal.key)}(?![\w/^]|\.\d)")
    for line in reversed(body[-20_000:].split("\n")):
        for match in reversed(list(ending.finditer(plain(line)))):
            numbers = set(re.findall(r"\d+(?:\.\d+)?", f"{match[1]} {goal.key}"))
            if len(numbers) > 1 and re.search(r"[-+/^·÷(]", match[1]):
                return next((i for i, clause in enumerate(clauses) if goal.stated(clause)
                             and numbers <= set(re.findall(r"\d+(?:\.\d+)?", plain(clause.body)))),
                            0)
    return 0


def _needed(clauses: Sequence[Clause], answer: str, given: set[str]) -> set[str]:
    """Numbers that the answer part works with and the thinking has, beyond the question's."""
    there = {n for clause in clauses for n in clause.numbers}
    return (set(Clause(answer).numbers) & there) - given - _TRIVIAL


def _settled(clauses: Sequence[Clause], i: int) -> bool:
    """Whether the student turns to checking or concluding right after it, or stops."""
    after = clauses[i + 1 : i + 4]
    turns = (CHECK, ALTERNATIVE, CONCLUDE)
    return len(after) < 3 or bool(CONFIRM.match(after[0].body)) or any(
        pattern.search(clause.body) for clause in after for pattern in turns)
