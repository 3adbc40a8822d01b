"""Whether two texts are in the same language: by script, and by the commonest words."""

from __future__ import annotations

import re
from collections import Counter

_FORMULA = re.compile(r"\\[a-zA-Z]+|\$[^$\n]{0,500}\$")
_SCRIPTS = re.compile(
    r"(?P<Latin>[A-Za-z\u00c0-\u024f])|(?P<Greek>[\u0370-\u03ff])|(?P<Cyrillic>[\u0400-\u04ff])"
    r"|(?P<Arabic>[\u0600-\u06ff])|(?P<Devanagari>[\u0900-\u097f])|(?P<Thai>[\u0e00-\u0e7f])"
    r"|(?P<Kana>[\u3040-\u30ff])|(?P<Han>[\u3400-\u9fff])|(?P<Hangul>[\uac00-\ud7af])")
_COMMON = {
    "English": "the of and is to that we so this are for with which be have it from",
    "German": "der die das und ist nicht ein eine wir den dem also sind mit für auf von",
    "French": "le la les et est une des nous que dans pour donc avec sur du qui",
    "Spanish": "el la los que es una por con para las del como entonces se y en",
    "Italian": "il che è una per con di sono della quindi non lo gli e nel",
    "Portuguese": "o que é uma para com não os do da em então são e por",
    "Dutch": "de het een is van dat niet wij en dus zijn met voor op",
    "Vietnamese": "là của và các có được trong một cho này",
}
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}


def script(text: str) -> str | None:
    """The script that most letters outside of formulas have; None without letters."""
    counts = Counter(match.lastgroup for match in _SCRIPTS.finditer(_FORMULA.sub(" ", text)))
    counts.pop("Greek", None)  # mathematics
    if counts["Kana"]:
        counts["Kana"] += counts.pop("Han", 0)
    return counts.most_common(1)[0][0] if counts else None


def language(text: str) -> str | None:
    """The language of a text in Latin letters; None where its words do not decide."""
    words = Counter(re.findall(r"[^\W\d_]+", _FORMULA.sub(" ", text).lower()))
    scores = {name: sum(words[word] for word in common) for name, common in _WORDS.items()}
    first, second = sorted(scores, key=lambda name: scores[name], reverse=True)[:2]
    return first if scores[first] >= 5 and scores[first] > 1.5 * scores[second] else None


def same_language(text: str, model: str) -> bool:
    """Whether `text` is in the language of `model`; True where that cannot be told."""
    ours, theirs = script(text), script(model)
    if ours is None or theirs is None:
        return True
    if ours != theirs:
        return False
    named, expected = language(text), language(model)
    return named is None or expected is None or named == expected
