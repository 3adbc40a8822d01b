"""The rule teacher's ear and pen: what was said before, and what can be said with fewer words."""

from __future__ import annotations

import re
from collections import deque

from drp_plugin.pruning.assemble import capitalised
from drp_plugin.teachers.offline_cues import Clause

_I = re.IGNORECASE

_LEAD = re.compile(
    r"^(?:(?:okay|ok|alright|all right|hmm+|um+|oh|ah|anyway|got it|let me see|let's see"
    r"|let me think"
    r"|hold on|actually)\b(?: a (?:minute|second|moment))?[\s,.!…?:—-]*"
    r"|(?:wait|well|yeah|yes|yep|right|great|good|perfect|cool|nice|first off|you know|I mean"
    r"|now,? wait"
    r"|wait a (?:minute|second|moment)|no|but wait|so wait|wait,? so|so,? okay|so,? yeah"
    r"|so,? hmm+)[,.!…—]+\s*)+", _I)
_TAGS = re.compile(r",? (?:right|okay|correct|I think|I believe|I guess|I suppose|you know"
                   r"|isn't it"
                   r"|if I (?:remember|recall) correctly)\?(?=\s|\Z)", _I)
_THINKING = re.compile(r"\bI(?:'m)? (?:think|guess|believe|suppose|thinking|pretty sure) (?:that "
                       r"|it's that )?"
                       r"(?!(?:about|of|in|through|so|not|this is (?:right"
                       r"|correct))\b)(?=[\w$\\(])", _I)
_KNOWING = re.compile(r"\bI (?:remember|recall|know|see|notice|realize"
                      r"|realise)(?: learning)? that (?=[\w$\\(])", _I)
_PARENTHETIC = re.compile(r", (?:I think|I believe|I guess|I suppose|you know|let's say|of course|"
                          r"if I (?:remember|recall) correctly)(?=[,.])", _I)
_ADVERBS = re.compile(r"(?<=\w )(?:actually|basically|essentially|obviously|definitely) (?=[a-z])")
_DOUBLE_SO = re.compile(r"^(So|Now|Then|And),? (?:so|then|now|okay|basically|essentially|actually"
                        r"|well),? ", _I)
_FILLED_GOAL = re.compile(
    r"^(?:so,? )?(?:I have (?:this|a) (?:problem"
    r"|question)(?: here)?(?: \w+)?[:,;—-]+ ?(?:where )?)(?=.{12})", _I)
_BOXED = re.compile(r"\\boxed\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_EMPTY = re.compile(r"^\W*(?:so|now|then|and|but|well|okay|thus|therefore|hence|that is"
                    r"|which is)?\W*\Z", _I)
_CONCLUDES = re.compile(r"\banswer (?:is|should be|must be)\b", re.IGNORECASE)
_EMPHASIS = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_MEMORY = 60
"""Kept clauses that a new one is compared with."""
_LONGEST = 3000
"""Characters; a clause that is longer is no prose."""


def tighten(text: str) -> str:
    """The clause without filler words and hedges; empty when nothing else was in it.

    Formulas, numbers and the order of words stay as they are.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        return text
    short = _LEAD.sub("", text, count=1)
    if short and short != text and not short[0].isupper():
        short = capitalised(short)
    short = _FILLED_GOAL.sub("", short, count=1)
    short = _DOUBLE_SO.sub(lambda m: m[1] + (", " if "," in m[0] else " "), short, count=1)
    short = _TAGS.sub(".", short)
    short = _PARENTHETIC.sub("", short)
    short = _THINKING.sub("", short)
    short = _KNOWING.sub("", short)
    short = _ADVERBS.sub("", short)
    short = _BOXED.sub(r"\1", short)
    short = _EMPHASIS.sub(r"\1", short)
    short = re.sub(r"\s+([,.;:])(?=\s|\Z)", r"\1", short) if short != text else short
    if _EMPTY.match(short):
        return ""
    return capitalised(short) if text[:1].isupper() else short


def statement(final: str) -> str:
    """`The answer is X.`, the answer in dollars where it is LaTeX."""
    final = final.strip()
    bare = "$" not in final and "\\(" not in final
    latex = bare and ("\\" in final or "^" in final or "_" in final)
    return f"The answer is {f'${final}$' if latex else final}."


def concludes(text: str) -> bool:
    """Whether a text states the final answer in so many words."""
    return bool(_CONCLUDES.search(text))


class Said:
    """What a text has said so far. `given` are the numbers of the question."""

    def __init__(self, given: set[str]) -> None:
        self._given = given
        self._equations: set[str] = set()
        self._numbers: set[str] = set()
        self._memory: deque[Clause] = deque(maxlen=_MEMORY)

    def add(self, clause: Clause) -> None:
        self._equations.update(clause.equations)
        self._numbers.update(clause.numbers)
        self._memory.append(clause)

    def before(self, clause: Clause) -> bool:
        """Whether the clause says nothing new."""
        mine = set(clause.numbers)
        if clause.equations:
            return all(equation in self._equations for equation in clause.equations) \
                and mine <= self._numbers | self._given
        if mine - self._numbers - self._given or clause.body.endswith(":"):
            return False
        words = clause.words
        for other in self._memory:
            if mine <= set(other.numbers) and other.math == clause.math:
                common = len(words & other.words)
                if common >= 0.8 * len(words) and (words or mine == set(other.numbers)):
                    return True
        return False
