"""Counting Qwen tokens word by word: the same number as the tokenizer's, many times faster.

BPE never crosses the cuts that a fixed pattern makes before it. One of them is before every space
that something other than white space follows: what stands between two such spaces has the same
tokens wherever it stands, and traces repeat it. Each distinct one is encoded once.
"""

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Qwen's pre-tokenization, as in its tokenizer.json.
QWEN_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
              r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
_SPLITS = [[
    {"type": "Split", "pattern": {"Regex": QWEN_SPLIT}, "behavior": "Isolated", "invert": False},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": trim, "use_regex": False}]
    for trim in (False, True)]
#: ASCII alone, so that nobody need know what else is white space; `<` may begin an added token,
#: before which several spaces are one piece.
_CUT = re.compile(r" (?=[!-;=-~])")
_MOST = 1 << 18
#: Longer words (a line of Chinese, base64) are seen once: they would only fill the table.
_LONGEST = 64


class WordCounter:
    """Token counts of texts, from a table of words that grows."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._first: dict[str, int] = {}  # Tokens of what a text begins with
        self._words: dict[str, int] = {}  # Tokens of what follows a cut, the space before it too

    def count(self, text: str) -> int:
        """Tokens of the text."""
        first, *words = _CUT.split(text)
        try:
            return self._first[first] + sum(map(self._words.__getitem__, words))
        except KeyError:
            return self._of([first], self._first, "") + self._of(words, self._words, " ")

    def _of(self, words: list[str], known: dict[str, int], space: str) -> int:
        missing = [word for word in dict.fromkeys(words) if word not in known]
        found = self._tokenizer.encode_batch_fast([space + word for word in missing],
                                                  add_special_tokens=False)
        fresh = {word: len(encoding) for word, encoding in zip(missing, found, strict=True)}
        total = sum(known[word] if word in known else fresh[word] for word in words)
        if len(known) > _MOST:
            known.clear()
        known.update((word, n) for word, n in fresh.items() if len(word) <= _LONGEST)
        return total


def word_counter(tokenizer: "Tokenizer") -> WordCounter | None:
    """A counter for this tokenizer, or None where it is not built like Qwen's."""
    from tokenizers import models, normalizers, pre_tokenizers

    split = tokenizer.pre_tokenizer
    added = tokenizer.get_added_tokens_decoder().values()
    qwen = (
        isinstance(tokenizer.model, models.BPE) and not tokenizer.model.dropout
        and isinstance(tokenizer.normalizer, normalizers.NFC)
        and isinstance(split, pre_tokenizers.Sequence)
        and json.loads(split.__getstate__()).get("pretokenizers") in _SPLITS
        and all(token.content.startswith("<") and " " not in token.content and not (
            token.normalized or token.lstrip or token.rstrip or token.single_word)
            for token in added))
    return WordCounter(tokenizer) if qwen else None
