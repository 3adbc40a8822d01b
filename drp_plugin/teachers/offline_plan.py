"""The rule teacher's judgement: which clauses of a trace the answer needs."""

import re
from collections.abc import Sequence
from itertools import groupby

from drp_plugin.teachers.offline_cues import Clause, Stated
from drp_plugin.teachers.offline_steps import Goal, reach

_LONGEST_ASIDE = 60  # Clauses; a longer re-check is taken for part of the reasoning
_LOOKBACK = 8
_LOOKAHEAD = 10
_MEMORY = 60  # Occurrences of a number that are examined
_HANGING = re.compile(r"(?:which|giving|resulting|leaving|meaning|because|since|while|whereas)\b")


class Judge:
    """Goes through a trace's clauses; one pass for each kind of ballast."""

    def __init__(self, question: str, clauses: Sequence[Clause], answer: str, final: str | None,
                 *, whole: bool = True) -> None:
        self.clauses = clauses
        self.question = Clause(question)
        self.goal = Goal(final)
        self.given = set(self.question.numbers)
        self.answer = Clause(answer)
        # A part of a longer trace is read to its end, unless it holds the answer.
        self.reached = reach(clauses, self.goal, question, answer) \
            if clauses and (whole or any(map(self.goal.stated, clauses))) else len(clauses) - 1
        self.drop = ["" for _ in clauses]
        """Why each clause goes; "" for one that stays."""
        self.places: dict[str, list[int]] = {}  # Where each number stands
        self.computed: dict[str, int] = {}  # Where each equation stands for the first time
        for i, clause in enumerate(clauses[: self.reached + 1]):
            for number in clause.numbers:
                self.places.setdefault(number, []).append(i)
            for equation in clause.equations:
                self.computed.setdefault(equation, i)

    def judge(self) -> list[str]:
        """Why each clause is dropped (re-check, dead end, talk); "" for what stays or is needed."""
        closing = self._closing()
        for i in range(self.reached + 1, len(self.clauses)):
            self.drop[i] = "" if i == closing else "after the answer"
        for mark in (self._asides, self._retractions, self._talk, self._repetitions,
                     self._dangling, self._lists, self._restore, self._sentences):
            mark()
        return self.drop

    def _closing(self) -> int | None:
        """The student's own sentence that states the answer, where it comes soon after it."""
        if not self.clauses or self.clauses[self.reached].says("concludes"):
            return None
        after = self.clauses[self.reached + 1 : self.reached + _LOOKAHEAD]
        return next((i for i, clause in enumerate(after, start=self.reached + 1)
                     if clause.says("concludes") and self.goal.stated(clause)
                     and not clause.equations and not clause.says("guess")), None)

    def _brings(self, i: int) -> bool:
        """Whether clause `i` is the first with a number that is used after it."""
        return any(self.places[number][0] == i and number not in self.given
                   and (self.places[number][-1] > i or number in self.answer.numbers)
                   for number in self.clauses[i].numbers)

    def _asides(self) -> None:
        """Re-checks and alternative ways, up to where they end or bring something new."""
        i = 0
        while i < self.reached:
            clause = self.clauses[i]
            end = i + 1
            if not clause.says("check", "alternative") or self._brings(i) or clause.says("goal"):
                i = end
                continue
            while end < min(self.reached, i + _LONGEST_ASIDE) and not self._brings(end):
                clause = self.clauses[end]
                if clause.says("confirm"):
                    end += 1
                    break
                if clause.says("sequence") and not clause.says("check"):
                    break
                end += 1
            self.drop[i:end] = ["re-check"] * (end - i)
            i = end

    def _retractions(self) -> None:
        """What the student retracts, and facts that it calls irrelevant."""
        for i, clause in enumerate(self.clauses[: self.reached]):
            if self.drop[i]:
                continue
            takes_back = clause.says("retract")
            if not takes_back and not clause.says("irrelevant"):
                continue
            self.drop[i] = "taken back"
            for j in range(i - 1, max(-1, i - 1 - (_LOOKBACK if takes_back else 1)), -1):
                before = self.clauses[j]
                doubtful = before.computes or before.says("guess", "meta")
                if takes_back and not doubtful and before.math:
                    break
                if self._brings(j) or before.says("sequence"):
                    break
                self.drop[j] = self.drop[j] or "taken back"

    def _talk(self) -> None:
        goal_said = False
        for i, clause in enumerate(self.clauses[: self.reached]):
            if self.drop[i]:
                continue
            if not goal_said and clause.says("goal") and not clause.body.endswith("?"):
                goal_said = True
            else:
                self.drop[i] = self._idle(i, clause)

    def _idle(self, i: int, clause: Clause) -> str:
        brings = self._brings(i)
        if clause.says("heading"):
            return "heading"
        if clause.body.endswith("?") and not brings:
            return "question"
        if clause.says("confirm") and not brings and not clause.equations:
            return "confirmation"
        if not clause.math:
            return self._idle_words(clause)
        if brings or clause.equations:
            return ""
        new = set(clause.numbers) - self.given
        if clause.says("goal", "restate"):
            return "" if new else "restatement"
        if self._restates(clause):
            return "" if self._leads(i) and not self._said_again(i) else "restatement"
        if clause.says("plan") and self._done_next(i):
            return "plan"
        return "hesitation" if clause.says("meta") and not new else ""

    def _idle_words(self, clause: Clause) -> str:
        if clause.says("meta", "restate", "goal"):
            return "hesitation"
        if clause.says("plan"):
            return "plan"
        words = clause.words
        if len(words) < 3:
            return "" if clause.body.endswith(":") else "hesitation"
        shared = len(words & self.answer.words) / len(words)
        return "" if shared >= 0.6 and not self._restates(clause) else "aside"

    def _restates(self, clause: Clause) -> bool:
        words = clause.words
        if not words or set(clause.numbers) - self.given or clause.equations:
            return False
        return len(words & self.question.words) / len(words) >= 0.75

    def _leads(self, i: int) -> bool:
        """Whether the next clauses compute with a number that this one gives."""
        numbers = set(self.clauses[i].numbers)
        return any(numbers & set(self.clauses[j].numbers) and not self.drop[j]
                   and any(self.computed[equation] == j for equation in self.clauses[j].equations)
                   for j in range(i + 1, min(i + 7, self.reached + 1)))

    def _said_again(self, i: int) -> bool:
        clause = self.clauses[i]
        return any(set(other.numbers) == set(clause.numbers) and clause.words <= other.words
                   for other in self.clauses[i + 1 : min(i + 25, self.reached + 1)])

    def _done_next(self, i: int) -> bool:
        """Whether the next clauses do what this one plans, with the same numbers."""
        numbers = set(self.clauses[i].numbers)
        return any(clause.computes and numbers <= set(clause.numbers)
                   for clause in self.clauses[i + 1 : min(i + 3, self.reached + 1)])

    def _repetitions(self) -> None:
        """Repetitions: the same equations, or the same words and numbers."""
        said = Stated(self.given)
        for i, clause in enumerate(self.clauses[: self.reached + 1]):
            if self.drop[i]:
                continue
            if i < self.reached and said.before(clause):
                self.drop[i] = "repetition"
            else:
                said.add(clause)

    def _dangling(self) -> None:
        for i in range(self.reached - 1, -1, -1):
            if not self.drop[i] and self.clauses[i].body.endswith(":") and self.drop[i + 1] \
                    and not self._brings(i):
                self.drop[i] = "lead-in"

    def _lists(self) -> None:
        """Items of one list stay together: neighbours that differ in their numbers only."""
        shapes = [re.sub(r"\d+", "#", clause.body) if clause.math else None
                  for clause in self.clauses[: self.reached + 1]]
        for shape, group in groupby(range(self.reached + 1), key=shapes.__getitem__):
            run = list(group)
            if shape is not None and len(run) >= 3 and not all(self.drop[i] for i in run):
                for i in run:
                    self.drop[i] = ""

    def _sentences(self) -> None:
        """No clause without the one that it depends on: "which is 5" stays with what is 5."""
        for i in range(self.reached, 0, -1):
            clause, before = self.clauses[i], self.clauses[i - 1]
            if self.drop[i] or not self.drop[i - 1] or before.text.rstrip()[-1:] not in ",;:":
                continue
            bare = before.body.endswith(":") and (len(clause.body) < 25 or not clause.computes)
            if _HANGING.match(clause.body) or (bare and not before.says("meta")):
                self.drop[i - 1] = ""
            elif bare and not clause.words and not clause.equations:
                self.drop[i] = "lead-in"

    def _restore(self) -> None:
        """Bring back the clause that first has a number which a kept clause works with."""
        for i in range(self.reached, -1, -1):  # so that restored clauses are examined in turn
            clause = self.clauses[i]
            for number in () if self.drop[i] else clause.numbers:
                earlier = [j for j in self.places[number] if j < i]
                if number in self.given or number in clause.results \
                        or not all(self.drop[j] for j in earlier):
                    continue
                told = [j for j in earlier[:_MEMORY] if not self.clauses[j].body.endswith("?")]
                stated = [j for j in earlier[:_MEMORY] if number in self.clauses[j].results
                          and not self.clauses[j].says("guess", "retract")]
                for source in (stated or told)[:1]:
                    self.drop[source] = ""
