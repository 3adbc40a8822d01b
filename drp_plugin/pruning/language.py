"""Whether two texts are in the same language: by script, and by the commonest words."""

from __future__ import annotations

import re
from collections import Counter

from drp_plugin.resources import table

_FORMULA = re.compile(r"\\[a-zA-Z]+|\$[^$\n]{0,500}\$")
_TABLES = table("words.yaml")
_SCRIPTS = re.compile("|".join(f"(?P<{name}>[{letters}])"
                               for name, letters in _TABLES["scripts"].items()))
_WORDS = {name: frozenset(words.split()) for name, words in _TABLES["languages"].items()}


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
    return all(ours is None or theirs is None or ours == theirs for ours, theirs in (
        (script(text), script(model)), (language(text), language(model))))
