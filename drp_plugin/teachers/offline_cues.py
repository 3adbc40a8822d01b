"""The rule teacher's reading and writing: a clause's role, what is new in it, and how to shorten
it.

The wordings are in `drp_plugin/data/offline_rules.yaml`."""

import re
from collections import deque
from dataclasses import dataclass
from functools import cached_property

from drp_plugin.pruning.steps import capitalised
from drp_plugin.resources import table

RULES = "offline_rules.yaml"
_RULES = table(RULES)
_CUES = {name: re.compile("|".join([cue] if isinstance(cue, str) else cue), re.IGNORECASE)
         for name, cue in _RULES["cues"].items()}
_FILLERS = [(re.compile(pattern, re.IGNORECASE), new) for pattern, new in _RULES["fillers"]]
_PLAIN = [(re.compile(pattern), new) for pattern, new in _RULES["plain"]]
_STOP_WORDS = frozenset(_RULES["stop_words"].split())
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?")
_MEMORY = 60  # Kept clauses that a new one is compared with
_LONGEST = 3000  # Characters; a longer clause is not prose


@dataclass(frozen=True)
class Clause:
    """A clause of T with what can be seen from it alone."""

    text: str

    @cached_property
    def body(self) -> str:
        """The text without white space around; a long one without its middle, to stay fast."""
        text = self.text.strip()
        return text if len(text) <= _LONGEST else f"{text[:1500]} … {text[-1500:]}"

    def says(self, *cues: str) -> bool:
        return says(self.body, *cues)

    @cached_property
    def math(self) -> bool:
        return self.says("math")

    @cached_property
    def plain(self) -> str:
        """The body with equal values written alike: `$\\dfrac{1}{4}$` and `1/4`."""
        text = self.body
        for pattern, new in _PLAIN:
            text = pattern.sub(new, text)
        return text.strip().lower()

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Literals without thousands separators, in order."""
        return tuple(n.replace(",", "") for n in _NUMBER.findall(_joined(self.body)))

    @cached_property
    def results(self) -> frozenset[str]:
        """Numbers in the place of a result: after `=`, "is", "gives" …"""
        found = _CUES["results"].findall(_joined(self.body))
        return frozenset(number.replace(",", "").lstrip("-") for number in found)

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(w[:-1] if w.endswith("s") and len(w) > 4 else w
                         for w in map(str.lower, re.findall("[A-Za-z]{3,}", self.body))
                         if w not in _STOP_WORDS)

    @cached_property
    def equations(self) -> tuple[str, ...]:
        """Equations and relations without white space, to be compared."""
        found = []
        for part in re.split(r"[,;\n]", _joined(self.body)):
            if re.search("[=≈≤≥<>]", part):
                tight = re.sub(r"[\s$\\*]|left|right|text", "", part).strip(".:").lower()
                tight = re.sub(r"^[a-z',]{4,}|^(?:so|then|and|is)(?=\d)", "", tight)
                if len(tight) >= 3:
                    found.append(tight)
        return tuple(found)

    @cached_property
    def computes(self) -> bool:
        """Whether it holds an equation or states the outcome of an operation."""
        return bool(self.equations) or bool(self.results and len(self.numbers) > 1)


def says(text: str, *cues: str) -> bool:
    return any(_CUES[cue].search(text) for cue in cues)


def _joined(text: str) -> str:
    text = re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!)(?=\d)", "", text)
    return text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")


def skill(text: str) -> str:
    """The mathematical skill, or the kind of talk, that a clause mostly shows."""
    clause = Clause(text)
    return next(str(rule["skill"]) for rule in _RULES["skills"]
                if rule.get("math", clause.math) == clause.math and clause.says(*rule["any"])
                and clause.says(rule.get("with", "anything"))
                and not clause.says(*rule.get("without", ())))


def tighten(text: str) -> str:
    """The clause without fillers and hedges, maybe empty; formulas, numbers and order stay."""
    text = text.strip()
    if len(text) > _LONGEST:
        return text
    short = _CUES["lead"].sub("", text)
    if short and short != text and not short[0].isupper():
        short = capitalised(short)
    short = _CUES["filled_goal"].sub("", short)
    short = _CUES["double_so"].sub(lambda m: m[1] + (", " if "," in m[0] else " "), short)
    for pattern, new in _FILLERS:
        short = pattern.sub(new, short)
    short = re.sub(r"\s+([,.;:])(?=\s|\Z)", r"\1", short) if short != text else short
    if _CUES["empty"].match(short):
        return ""
    return capitalised(short) if text[:1].isupper() else short


def statement(final: str) -> str:
    """`The answer is X.`, the answer in dollars where it is LaTeX."""
    final = final.strip()
    latex = re.search(r"[\\^_]", final) and "$" not in final and "\\(" not in final
    return f"The answer is {f'${final}$' if latex else final}."


class Stated:
    """What a text has stated so far. `given` are the numbers of the question."""

    def __init__(self, given: set[str]) -> None:
        self._numbers, self._equations = set(given), set[str]()
        self._memory: deque[Clause] = deque(maxlen=_MEMORY)

    def add(self, clause: Clause) -> None:
        self._equations.update(clause.equations)
        self._numbers.update(clause.numbers)
        self._memory.append(clause)

    def before(self, clause: Clause) -> bool:
        mine, words = set(clause.numbers), clause.words
        if clause.equations:
            return self._equations.issuperset(clause.equations) and mine <= self._numbers
        if mine - self._numbers or clause.body.endswith(":"):
            return False
        return any(mine <= set(other.numbers) and other.math == clause.math
                   and len(words & other.words) >= 0.8 * len(words)
                   and (words or mine == set(other.numbers)) for other in self._memory)
