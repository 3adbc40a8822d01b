"""Where a trace has its answer: everything behind that is re-checking."""

import re
from collections.abc import Sequence

from drp_plugin.teachers.offline_cues import Clause, plain

_TRIVIAL = frozenset({"0", "1", "2"})
_RESULT_WORDS = (r"(?:[=≈]|\b(?:is|are|be|was|get|gets|gives|us|equals?|to|becomes?|has|have|total"
                 r"|leaves?|of|only|makes?|means|as|exactly)\b)[^\w=]{0,4}")


class Goal:
    """The final answer, and how to see that a clause states it."""

    def __init__(self, final: str | None) -> None:
        self.key = plain((final or "")[:500]).strip(" .")
        if self.key.count("=") == 1 and len(self.key.split("=")[0]) <= 4:
            self.key = self.key.split("=")[1]
        word = re.escape(self.key) + r"(?![\w/^·]|\.\d|,\d|[-+]\w)"
        self._mention = re.compile(rf"(?<![\w./√^·]){word}")
        self._result = re.compile(_RESULT_WORDS + word)

    def stated(self, clause: Clause) -> bool:
        """Whether the clause gives it as a result."""
        if not self.key:
            return False
        if clause.says("conclude", "strong"):
            return bool(self._mention.search(clause.plain))
        return clause.plain.strip(" .") == self.key or bool(self._result.search(clause.plain))


def reach(clauses: Sequence[Clause], goal: Goal, question: str, answer: str) -> int:
    """Index of the clause that first states the final answer as the outcome of the reasoning. Not
    every mention will do: what the student's own answer part builds on must have come up by then, a
    guess does not count, and a value that the question states must be concluded."""
    given = {n.replace(",", "") for n in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", question)}
    stated = [i for i, clause in enumerate(clauses) if goal.stated(clause)]
    certain = [i for i in stated if not clauses[i].says("guess")]
    if not certain:
        return stated[-1] if stated else next(
            (i for i, clause in enumerate(clauses) if clause.says("conclude")), len(clauses) - 1)
    # numbers that the answer part works with and the thinking has, beyond the question's
    there = {n for clause in clauses for n in clause.numbers}
    needed = (set(Clause(answer).numbers) & there) - given - _TRIVIAL
    least = _last_step(clauses, goal, answer)
    seen: set[str] = set()
    at = 0
    best: tuple[float, int] | None = None
    for i in certain:
        while at <= i:
            seen.update(clauses[at].numbers)
            at += 1
        share = len(needed & seen) / len(needed) if needed else 1.0
        concluded = clauses[i].says("conclude", "strong")
        if goal.key in given and not concluded:
            continue
        if i < least and not any(c.says("alternative") for c in clauses[i + 1 : i + 3]):
            continue
        if not (concluded or _settled(clauses, i)):
            continue
        if share >= (0.75 if concluded else 0.85):
            return i
        if best is None or share > best[0] + 0.2:
            best = share, i
    return best[1] if best is not None else certain[-1]


def _last_step(clauses: Sequence[Clause], goal: Goal, answer: str) -> int:
    """Index of the clause with the calculation by which the answer part gets its result. 0 where it
    has none, or the thinking does it otherwise. An intermediate result that happens to equal the
    final one is not taken for it."""
    body = re.split(r"\b(?:verif|check|confirm)", answer, maxsplit=1, flags=re.IGNORECASE)[0]
    ending = re.compile(rf"([^=≈,;:]{{1,120}})[=≈] ?{re.escape(goal.key)}(?![\w/^]|\.\d)")
    for line in reversed(body[-20_000:].split("\n")):
        for match in reversed(list(ending.finditer(plain(line)))):
            numbers = set(re.findall(r"\d+(?:\.\d+)?", f"{match[1]} {goal.key}"))
            if len(numbers) > 1 and re.search(r"[-+/^·÷(]", match[1]):
                return next((i for i, clause in enumerate(clauses) if goal.stated(clause)
                             and numbers <= set(re.findall(r"\d+(?:\.\d+)?", clause.plain))), 0)
    return 0


def _settled(clauses: Sequence[Clause], i: int) -> bool:
    """Whether the student turns to checking or concluding right after it, or stops."""
    after = clauses[i + 1 : i + 4]
    return len(after) < 3 or after[0].says("confirm") or any(
        clause.says("check", "alternative", "conclude") for clause in after)
