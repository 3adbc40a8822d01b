"""Answers without a box: "The answer is …", else the last formula or number."""

from __future__ import annotations

import re

from drp_plugin.grading.answer import Opaque, Words
from drp_plugin.grading.normal import tidy
from drp_plugin.grading.reading import read
from drp_plugin.grading.units import canonical

#: A phrase cannot run on for longer than this.
_PHRASE = 300

_STATED = re.compile(
    r"""(?:
        \b(?:final\s+|correct\s+)?(?:answer|result|solution|option|choice)s?\s*(?:\*\*|__|["'])?\s*
            (?:\s(?:to|of|for)\s[^.:\n]{1,80}?\s)?
            (?:(?:is|are|was|would\s+be|should\s+be|must\s+be|equals?|=|:|：|\b(?=\s*\$|\s*\\\())
               (?:\*\*|__)?\s*
               (?:(?:therefore|thus|indeed|then|simply|just|hence|also|still)\s*,?\s+)?:?)
      | (?:答案|答え|答|解答|结果|結果)\s*(?P<not>不)?(?:应该是|应为|等于|[是为為は:：=])+
      | (?:^|\n)\s*\#{4}(?!\#)
      # a heading of its own, with a value below it
      | (?:^|\n)[ \t#*_]*(?:the\s)?(?:final\s|correct\s)?(?:answer|result)[ \t*_]*\n
            (?=\s*(?:\*\*|__)?(?:\$|\\\(|\\\[|[-\u2212]?\d))
    )\s*(?P<rest>\S[^\n]{0,300})""",
    re.IGNORECASE | re.VERBOSE)
#: The answer is spoken of, not told.
_SPOKEN_OF = re.compile(r"[\s*]*(?:indeed |also |therefore |clearly )?(?:correct|right|wrong|valid|"
                        r"reasonable|consistent|confirmed|verified|unique|sensible|plausible|as "
                        r"follows|in (?:the|line)|obtained|found|given|within|positive|below|above|"
                        r"an integer|needed)\b", re.IGNORECASE)
_NEGATED = re.compile(r"not\s[^.\n]{1,80}?\bbut\s+(?:rather\s+|instead\s+)?"
                      r"(?=[-\u2212$\\*(\d])", re.IGNORECASE)
_NUMBER = re.compile(
    r"""(?<![\w.\\^])           # not within a word, a decimal, a power or a command
        (?P<sign>(?<![\d)\]}]\s)(?<![\d)\]}])[-\u2212])?
        \\?\$?\s?
        (?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)
        (?:\.\d+)?
        (?:\s?/\s?\d+(?!\d|\.\d))?
        (?:\s?\\?%)?""",
    re.VERBOSE | re.ASCII)
_FRACTION = re.compile(r"[-\u2212]?\s?\\[dt]?frac\s*"
                       r"(?:\{[^{}]{1,40}\}|\d)\s*(?:\{[^{}]{1,40}\}|\d)")
_TUPLE = re.compile(r"\([^()\n]{0,100}\d[^()\n]{0,100},[^()\n]{0,100}\)")
#: Inline mathematics: a dollar before a space is money, and so is one before a digit that closes.
_MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$])\$(?![\s$])((?:[^$\\]|\\.)+?)(?<![\s\\])\$(?!\d)"
                   r"|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_JOINED = re.compile(r"\s*(?:,|;|,?\s*(?:and|or)|[、和与])\s*")
#: Where a told answer ends: with the sentence, or where it is explained.
_END = re.compile(r"""(?<=[^\s.])[.!?;](?=["'”]?(?:\s|\*|$))|[。！？；]|\s\((?=[A-Za-z]{2})
                  |,\s(?!and\b|or\b)(?=[a-z]{2})|\s(?:because|since|where|when)\s""", re.VERBOSE)
_ASIDE = re.compile(r"\s\((?=[A-Za-z]{2})|,?\s(?:because|since|where|when|attained|for\sall)\s")
_SENTENCE_END = re.compile(r"(?<=[^\s.])[.!?;](?=\s+\S)|[。！？；](?=\s*\S)|\n")
_VERB = re.compile(r"\b(?:is|are|be|gets?|gives?|equals?|obtain|have|has)\b|[:：]")
_LETTER = re.compile(r"[\W_]*(?:(?:option|choice)\s+)?\(?([A-J])\)?[\W_]*"
                     r"(?:is (?:the )?(?:correct|right)(?: \w+)?[\W_]*)?", re.IGNORECASE)


def stated(text: str, ended: bool) -> str | None:
    """What the last "The answer is" tells; None where nothing is told."""
    for match in reversed(list(_STATED.finditer(text))):
        rest = match["rest"]
        negated = _NEGATED.match(rest)
        if negated:     # "not 11 but 12"
            rest = rest[negated.end():]
        if _SPOKEN_OF.match(rest):
            continue
        if rest.startswith(("\\[", "$$")):      # a display may run over several lines
            display = _MATH.match(text[match.start("rest"):match.start("rest") + _PHRASE])
            if display:
                return _inner(display)
        value = _told(rest, ended or match.end() < len(text))
        if match["not"]:
            return f"not {value}"
        if value:
            return value
    return None


def _told(rest: str, complete: bool) -> str | None:
    """The value at the head of what follows "The answer is"."""
    end = _END.search(_masked(rest))
    sentence = rest[:end.start()] if end else rest
    bold = [part for part in _BOLD.findall(sentence) if re.search(r"\d|\\|^\W*[A-J]\W*$", part)]
    if bold:
        return _told(bold[-1], True)
    math = _last_math(sentence)
    if math is not None:
        return math
    if end is None and not complete:
        return None
    phrase = _trimmed(sentence)
    number = _NUMBER.match(phrase)
    if number:
        after = phrase[number.end():]
        # a unit or a few words may follow; another number means that this was a sentence
        return phrase if not re.search(r"\d", after) or re.match(r"\s*[-+*/^,:\\]", after) \
            or _readable(phrase) else number.group().strip()
    for part in (phrase, _trimmed(_VERB.split(phrase)[-1])):
        if _readable(part):
            return part
    sentence = phrase if len(phrase.split()) > 4 and not re.search(r"[\\^_=]", phrase) else ""
    return _last_number(sentence) or phrase or None


def concluded(text: str) -> str | None:
    """The last number or formula; of choices, the letter that stands alone at the end."""
    text = text.strip()
    letter = _LETTER.fullmatch(text[text.rfind("\n") + 1:])
    if letter:
        return letter[1].upper()
    sentence = text[max((m.end() for m in _SENTENCE_END.finditer(_masked(text))), default=0):]
    aside = _ASIDE.search(_masked(sentence))
    if aside and re.search(r"\d", sentence[:aside.start()]):
        sentence = sentence[:aside.start()]
    math = _last_math(sentence)
    if math is not None:
        return math
    last = _trimmed(_VERB.split(sentence)[-1])
    if re.search(r"\d", last) and _readable(last):
        return last
    return _last_number(sentence) or _last_math(text) or _last_number(text)


def _last_math(sentence: str) -> str | None:
    """The last formula, with those that it is listed with; None where a number is told instead."""
    spans = list(_MATH.finditer(sentence))
    if not spans:
        return None
    run = [_inner(spans[-1])]
    for before, span in zip(spans[-2::-1], spans[:0:-1], strict=False):
        if not _JOINED.fullmatch(sentence[before.end():span.start()]):
            break
        run.insert(0, _inner(before))
    after = sentence[spans[-1].end():]
    if _NUMBER.search(after):
        return None         # the largest $n$ is 34
    value = ", ".join(run)
    if re.fullmatch(r"\\?[A-Za-z]+", value) and _NUMBER.search(_masked(sentence)):
        return None         # 12 values of $n$
    return _with_unit(value, after)


def _inner(match: re.Match[str]) -> str:
    return _trimmed(next(part for part in match.groups() if part is not None))


def _with_unit(value: str, after: str) -> str:
    """A value with the unit that follows it in the sentence."""
    word = re.match(r"\s*([a-z]{2,}(?:\s(?:per|squared|cubed)(?:\s[a-z]+)?)?|%)", after)
    if word is None or word[1] == "in" or not canonical(word[1])[1]:
        return value
    return value + ("\\%" if word[1] == "%" else f" \\text{{ {word[1]}}}")


def _masked(text: str) -> str:
    """The text with each formula blotted out, letter for letter."""
    return _MATH.sub(lambda m: "\ufffc" * len(m.group()), text)


_SENTENCE = re.compile(r"(?<![\\A-Za-z{])(?!and\b|or\b|base\b)(?:[A-Za-z]{3,}(?=.*[\d=])"
                       r"|[A-Za-z]{2,}\s+[\d$])", re.DOTALL)


def _readable(phrase: str) -> bool:
    """Whether a phrase is an answer rather than a sentence."""
    return 0 < len(phrase) <= _PHRASE and bool(re.search(r"\d|\\", phrase)) \
        and not _SENTENCE.search(phrase) \
        and not isinstance(read(tidy(phrase)), Words | Opaque)


def _trimmed(text: str) -> str:
    text = text.strip().strip("*_\"'` ").strip()
    text = text if "{" in text else text.rstrip("}\"' ")
    return text.rstrip(".,;:。 ").strip("*_\"' ")


def _last_number(text: str) -> str | None:
    masked = _masked(text)
    best: tuple[int, str] | None = None
    for pattern in (_NUMBER, _FRACTION, _TUPLE):
        for match in pattern.finditer(masked):
            if best is None or match.end() > best[0]:
                best = (match.end(), match.group())
    return _with_unit(best[1].strip(), text[best[0]:]) if best else None
