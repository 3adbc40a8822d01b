"""The rule teacher's judgement: which clauses of a trace the answer needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drp_plugin.teachers import offline_cues as cues
from drp_plugin.teachers.offline_cues import Clause, content_words
from drp_plugin.teachers.offline_reach import Goal, reach
from drp_plugin.teachers.offline_text import Said, concludes

_LONGEST_ASIDE = 60
"""Clauses; a re-check that runs on longer is taken for a part of the reasoning."""
_LOOKBACK = 8
_LOOKAHEAD = 10
_MEMORY = 60
"""Places of a number that are looked at."""

_HANGING = re.compile(r"(?:which|giving|resulting|leaving|meaning|because|since|while|whereas)\b")


@dataclass
class Judgement:
    """Which clauses stay, and why the others go."""

    clauses: Sequence[Clause]
    keep: list[bool]
    why: list[str]
    reached: int


class Judge:
    """Goes through a trace's clauses; one pass for each kind of ballast."""

    def __init__(self, question: str, clauses: Sequence[Clause], answer: str, final: str | None,
                 *, whole: bool = True) -> None:
        self.clauses = clauses
        self.question = Clause(question)
        self.answer = Clause(answer)
        self.goal = Goal(final)
        self.given = set(self.question.numbers)
        self.answer_words = content_words(answer)
        count = len(clauses)
        found = any(self.goal.stated(clause) for clause in clauses)
        # A part of a longer trace ends where it ends, unless the answer is in it.
        self.reached = reach(clauses, self.goal, question, answer) if count and (whole or found) \
            else count - 1
        self.closing = self._closing()
        self.drop = ["" for _ in clauses]
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.places: dict[str, list[int]] = {}
        self.computed: dict[str, int] = {}
        """Where each equation stands for the first time."""
        self.answered = set(self.answer.numbers)
        for i, clause in enumerate(clauses[: self.reached + 1]):
            for number in clause.numbers:
                self.first.setdefault(number, i)
                self.last[number] = i
                self.places.setdefault(number, []).append(i)
            for equation in clause.equations:
                self.computed.setdefault(equation, i)

    def judge(self) -> Judgement:
        """Mark re-checks, dead ends and talk, then bring back what the rest depends on."""
        for i in range(self.reached + 1, len(self.clauses)):
            self.drop[i] = "" if i == self.closing else "after the answer"
        self._asides()
        self._retractions()
        self._talk()
        self._repetitions()
        self._dangling()
        self._lists()
        self._restore()
        self._sentences()
        return Judgement(self.clauses, [not why for why in self.drop], self.drop, self.reached)

    def _closing(self) -> int | None:
        """The student's own sentence that states the answer, where it comes soon after it."""
        if not self.clauses or concludes(self.clauses[self.reached].body):
            return None
        for i in range(self.reached + 1, min(self.reached + _LOOKAHEAD, len(self.clauses))):
            clause = self.clauses[i]
            if concludes(clause.body) and self.goal.stated(clause) and not clause.equations \
                    and not cues.GUESS.search(clause.body):
                return i
        return None

    def _brings(self, start: int, end: int) -> bool:
        """Whether clauses [start, end) are the first to have a number that is used behind them."""
        for i in range(start, end):
            for number in self.clauses[i].numbers:
                if self.first.get(number) == i and number not in self.given and (
                        self.last.get(number, -1) >= end or number in self.answered):
                    return True
        return False

    def _asides(self) -> None:
        """Re-checks and other ways, up to where they end or bring something new."""
        i = 0
        while i < self.reached:
            body = self.clauses[i].body
            starts = cues.CHECK.search(body) or cues.ALTERNATIVE.search(body)
            if not starts or self._brings(i, i + 1) or cues.GOAL.search(body):
                i += 1
                continue
            end = i + 1
            while end < min(self.reached, i + _LONGEST_ASIDE):
                clause = self.clauses[end]
                if self._brings(end, end + 1):
                    break
                if cues.CONFIRM.match(clause.body):
                    end += 1
                    break
                if cues.SEQUENCE.match(clause.body) and not cues.CHECK.search(clause.body):
                    break
                end += 1
            for j in range(i, end):
                self.drop[j] = "re-check"
            i = end

    def _retractions(self) -> None:
        """What the student takes back, and facts that it calls irrelevant."""
        for i, clause in enumerate(self.clauses[: self.reached]):
            if self.drop[i]:
                continue
            takes_back = cues.RETRACT.search(clause.body)
            if not takes_back and not cues.IRRELEVANT.search(clause.body):
                continue
            self.drop[i] = "taken back"
            for j in range(i - 1, max(-1, i - 1 - (_LOOKBACK if takes_back else 1)), -1):
                before = self.clauses[j]
                doubtful = before.computes or cues.GUESS.search(before.body) \
                    or cues.META.search(before.body)
                if takes_back and not doubtful and before.math:
                    break
                if self._brings(j, j + 1) or cues.SEQUENCE.match(before.body):
                    break
                self.drop[j] = self.drop[j] or "taken back"

    def _talk(self) -> None:
        """Hesitation, planning and restating that hold nothing of the reasoning."""
        goal_said = False
        for i in range(self.reached + 1):
            clause = self.clauses[i]
            if self.drop[i] or i == self.reached:
                continue
            if not goal_said and cues.GOAL.search(clause.body) and not clause.body.endswith("?"):
                goal_said = True
                continue
            self.drop[i] = self._idle(i, clause)

    def _idle(self, i: int, clause: Clause) -> str:
        body = clause.body
        brings = self._brings(i, i + 1)
        if cues.HEADING.match(body):
            return "heading"
        if body.endswith("?") and not brings:
            return "question"
        if cues.CONFIRM.match(body) and not brings and not clause.equations:
            return "confirmation"
        if not clause.math:
            return self._idle_words(clause)
        if brings or clause.equations:
            return ""
        new = set(clause.numbers) - self.given
        if cues.GOAL.search(body) or cues.RESTATE.search(body):
            return "restatement" if not new else ""
        if self._restates(clause):
            return "" if self._leads(i) and not self._said_again(i) else "restatement"
        if cues.PLAN.search(body) and self._done_next(i):
            return "plan"
        if cues.META.search(body) and not new:
            return "hesitation"
        return ""

    def _idle_words(self, clause: Clause) -> str:
        body = clause.body
        if cues.META.search(body) or cues.RESTATE.search(body) or cues.GOAL.search(body):
            return "hesitation"
        if cues.PLAN.search(body):
            return "plan"
        words = clause.words
        if len(words) < 3:
            return "" if body.endswith(":") else "hesitation"
        shared = len(words & self.answer_words) / len(words)
        return "" if shared >= 0.6 and not self._restates(clause) else "aside"

    def _restates(self, clause: Clause) -> bool:
        words = clause.words
        if not words or set(clause.numbers) - self.given or clause.equations:
            return False
        return len(words & self.question.words) / len(words) >= 0.75

    def _leads(self, i: int) -> bool:
        """Whether the next clauses compute with a number that this one gives."""
        numbers = set(self.clauses[i].numbers)
        return bool(numbers) and any(
            numbers & set(self.clauses[j].numbers) and not self.drop[j]
            and any(self.computed[equation] == j for equation in self.clauses[j].equations)
            for j in range(i + 1, min(i + 7, self.reached + 1)))

    def _said_again(self, i: int) -> bool:
        """Whether a clause soon after says the same, nearer to where it is used."""
        clause = self.clauses[i]
        numbers = set(clause.numbers)
        return any(set(other.numbers) == numbers and clause.words <= other.words
                   for other in self.clauses[i + 1 : min(i + 25, self.reached + 1)])

    def _done_next(self, i: int) -> bool:
        """Whether the next clauses do what this one plans, with the same numbers."""
        numbers = set(self.clauses[i].numbers)
        return any(clause.computes and numbers <= set(clause.numbers)
                   for clause in self.clauses[i + 1 : min(i + 3, self.reached + 1)])

    def _repetitions(self) -> None:
        """What has been said before: the same equations, or the same words and numbers."""
        said = Said(self.given)
        for i in range(self.reached + 1):
            clause = self.clauses[i]
            if self.drop[i]:
                continue
            if i < self.reached and said.before(clause):
                self.drop[i] = "repetition"
            else:
                said.add(clause)

    def _dangling(self) -> None:
        """Lead-ins whose formula has gone, and full stops of nothing."""
        for i in range(self.reached, -1, -1):
            if self.drop[i] or not self.clauses[i].body.endswith(":"):
                continue
            if i + 1 <= self.reached and self.drop[i + 1] and not self._brings(i, i + 1):
                self.drop[i] = "lead-in"

    def _lists(self) -> None:
        """Items of one list stay together: neighbours that differ in their numbers alone."""
        start = 0
        shapes = [re.sub(r"\d+", "#", clause.body) if clause.math else None
                  for clause in self.clauses[: self.reached + 1]]
        while start <= self.reached:
            end = start + 1
            while end <= self.reached and shapes[end] is not None and shapes[end] == shapes[start]:
                end += 1
            run = range(start, end)
            if len(run) >= 3 and any(not self.drop[i] for i in run):
                for i in run:
                    self.drop[i] = ""
            start = end

    def _sentences(self) -> None:
        """No clause without the one that it hangs on: "which is 5" stays with what is 5."""
        for i in range(self.reached, 0, -1):
            clause, before = self.clauses[i], self.clauses[i - 1]
            if before.text.rstrip()[-1:] not in ",;:":
                continue
            if self.drop[i]:
                continue
            bare = before.body.endswith(":") and (len(clause.body) < 25 or not clause.computes)
            if self.drop[i - 1] and (_HANGING.match(clause.body) or (bare and not cues.META.search(
                    before.body))):
                self.drop[i - 1] = ""
            elif self.drop[i - 1] and bare and not clause.words and not clause.equations:
                self.drop[i] = "lead-in"

    def _restore(self) -> None:
        """Bring back the clause that first has a number which a kept clause works with."""
        shown: dict[str, int] = {}
        for i in range(self.reached + 1):
            if not self.drop[i]:
                for number in self.clauses[i].numbers:
                    shown.setdefault(number, i)
        waiting = [i for i in range(self.reached + 1) if not self.drop[i]]
        while waiting:
            i = waiting.pop()
            clause = self.clauses[i]
            for number in clause.numbers:
                if number in self.given or shown.get(number, i) < i or number in clause.results:
                    continue
                source = self._source(number, i)
                if source is None:
                    continue
                self.drop[source] = ""
                for found in self.clauses[source].numbers:
                    shown[found] = min(shown.get(found, source), source)
                waiting.append(source)

    def _source(self, number: str, before: int) -> int | None:
        candidates = [j for j in self.places.get(number, [])[:_MEMORY] if j < before]
        for j in candidates:
            if number in self.clauses[j].results and not cues.GUESS.search(self.clauses[j].body) \
                    and not cues.RETRACT.search(self.clauses[j].body):
                return j if self.drop[j] else None
        return next((j for j in candidates if self.drop[j] and not
                     self.clauses[j].body.endswith("?")), None)
