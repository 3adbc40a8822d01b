"""Whether a candidate answer is the gold one, by the rules of its data set. Own rules decide what
they understand: exactly, in microseconds, in any thread. The rest goes to Math-Verify in a process
of its own."""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Literal, cast

from drp_plugin.grading import worker
from drp_plugin.grading.match import same_answer
from drp_plugin.grading.normal import WORD_CLOSE, WORD_OPEN, plain, tidy
from drp_plugin.grading.reading import read
from drp_plugin.grading.wording import announced, explained
from drp_plugin.resources import Patterns, table

#: A longer text is not a final answer; it is right only if it equals the gold one letter by letter.
MAX_LENGTH = 2_000
#: Math-Verify is asked about commands that our grammar lacks, in answers up to this length.
MAX_ASKED = 400
_P, _CHOICE = Patterns("grading.yaml", "compare"), Patterns("grading.yaml", "choices")
Rule = Literal["number", "integer", "choice", "symbolic"]


def equal(candidate: str, gold: str, dataset: str | None = None) -> bool:
    """Whether `candidate` is the same final answer as `gold`.

    Exact, with no tolerance: 0.333 is not 1/3, 70000 is not 70005. A unit or a percent sign may be
    left out or added, but a unit may not be changed (5 hours is not 5 minutes). See `rule_of` for
    the meaning of `dataset`. No text makes it raise; it takes bounded time for any input, is
    deterministic, safe in threads."""
    return _equal(candidate, gold, rule_of(dataset))


@lru_cache(maxsize=10_000)
def _equal(candidate: str, gold: str, rule: Rule) -> bool:
    try:
        return _decide(candidate, gold, rule)
    except (RecursionError, ValueError, ArithmeticError):
        return False        # a last safeguard: no answer's text may end a run


def _decide(candidate: str, gold: str, rule: Rule) -> bool:
    if len(candidate) > MAX_LENGTH or len(gold) > MAX_LENGTH:
        return bool(gold.strip()) and candidate.strip() == gold.strip()
    if rule != "choice" and _P.plain.fullmatch(candidate) and _P.plain.fullmatch(gold):
        return Fraction(candidate) == Fraction(gold)
    one, two = tidy(candidate), tidy(gold)
    if not one or not two:
        return False
    if _letters(one) == _letters(two):
        return True
    if rule == "choice" or _letter_of(two):
        return _same_choice(one, two)
    if (several := _letters_of(two)) is not None:
        return several in (_letters_of(one), "".join(sorted(re.sub(r"[\x02\x03 ]", "", one))))
    if (verdict := _same(one, two)) is None and rule == "symbolic" \
            and max(len(one), len(two)) <= MAX_ASKED and _P.command.search(one + two):
        return worker.same(*(text.replace(WORD_OPEN, "\\text{").replace(WORD_CLOSE, "}")
                             for text in (two, one)))
    if not verdict and rule != "symbolic":
        return _only_number(one, two)
    return bool(verdict)


def _same(one: str, two: str) -> bool | None:
    """Compare as written; else without announcement, explanation or aside."""
    gold = read(two)
    if verdict := same_answer(read(one), gold):
        return True
    if any(short != one and same_answer(read(short), gold) for short in _shorter(one)):
        return True
    aside = _P.aside.fullmatch(one)
    if aside and not _P.negated.search(aside[1]) and same_answer(read(aside[1]), gold):
        inner = read(re.sub(r"^(?:=|\\approx)\s*", "", aside[2]))
        return "\x02" in aside[2] or same_answer(read(aside[1]), inner)
    return verdict


def _shorter(text: str) -> list[str]:
    if re.match(r"[-+]?\d+,\d+[^,]*$", text):
        return [_P.decimal_comma.sub(lambda m: m.group().replace(",", "."), text)]
    without = announced(text)
    return [without, explained(without)]


def _letters(text: str) -> str:
    """For equality letter by letter; \\text{} and spaces do not count."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", re.sub(r"[\x02\x03]", "", text))


def _only_number(one: str, two: str) -> bool:
    """A sentence in the box of a problem whose answer is a number: the only number in it."""
    wordy = WORD_OPEN in one or re.search(r"[A-Za-z]{3,}\s", one)
    if "%" in two or not wordy \
            or re.search(r"\\(?:frac|sqrt|cdot|times)|[*/^=+]|%|(?i:\bnot\b|n't\b)", one):
        return False
    numbers = _P.any_number.findall(one)
    return len(numbers) == 1 and same_answer(read(numbers[0].replace(",", "")), read(two)) is True


def _letters_of(text: str) -> str | None:
    letters = re.split(r"[\s,;()]+(?:and\s+)?", plain(text).strip(" ()"))
    return "".join(sorted(letters)) if len(letters) > 1 \
        and all(re.fullmatch("[A-J]", letter) for letter in letters) else None


def _letter_of(gold: str) -> str | None:
    match = _CHOICE.gold.fullmatch(plain(gold))
    return match[1] if match else None


def _chosen_letter(text: str) -> str | None:
    """The one letter that a tidied answer chooses: B, (B) 12, Option B; None for (A) or (B)."""
    match = _CHOICE.chosen.fullmatch(plain(text))
    if match is None or _CHOICE.another.search(match["rest"]):
        return None
    letter, rest = match[1], match["rest"]
    marked = re.search(r"[).:]", plain(text)[match.start(1):match.end(1) + 2])
    if rest and not marked and not re.match(r"(?i)because|since|as\b|,|\(", rest):
        return None     # "A pound" chooses nothing
    return letter.upper()


def _same_choice(candidate: str, gold: str) -> bool:
    """Whether both choose one letter; the gold may be B, (B) or "B. text", or the text given."""
    text = _CHOICE.with_text.fullmatch(plain(gold))
    letter = text[1] if text else _letter_of(gold)
    if (found := _chosen_letter(candidate)) is None and text is not None:
        return plain(candidate).lower() == text[2].strip().lower()
    return letter is not None and found == letter


def base_name(dataset: str) -> str:
    """drp_gsm8k, GSM8K-test and gsm8k_test all begin with gsm8k in this form."""
    return re.sub(r"[^a-z0-9]+", "_", dataset.lower()).removeprefix("drp_")


def rule_of(dataset: str | None) -> Rule:
    """The rule for a set's name, as a task (drp_gsm8k), a file (gsm8k_test) or plain (gsm8k).

    `number`: exact decimal value after commas, currency and units. `integer`: the same, and the
    gold may be written as a float (AMC) or the candidate with leading zeros (AIME). `choice`: the
    letter of a multiple choice. `symbolic`: any mathematical object, and sets that are not known.
    """
    name = base_name(dataset or "")
    rules = table("grading.yaml")["tables"]["rules"]
    return cast(Rule, next((rules[prefix] for prefix in rules if name.startswith(prefix)),
                           "symbolic"))
