"""Counting Qwen tokens piece by piece: the same number as the tokenizer's, many times faster.

BPE never crosses the cuts that a fixed pattern makes before it, and traces repeat their pieces:
each distinct one is encoded once. What Python might cut differently is left to the tokenizer.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
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
_MAX_PIECES = 1_000_000
#: Longer pieces (a thousand spaces, base64) are seen once: they would only fill the table.
_MAX_LENGTH = 64


class PieceCounter:
    """Token counts of texts, from a table of pieces that grows."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._counts: dict[str, int] = {}
        added = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
        self._added = re.compile("|".join(map(re.escape, sorted(added, key=len, reverse=True)))
                                 if added else r"(?!)")
        self._pieces, self._strange = _patterns()

    def count(self, text: str) -> int | None:
        """Tokens of the text, or None where the tokenizer itself must be asked."""
        if self._strange.search(text) or not unicodedata.is_normalized("NFC", text):
            return None
        parts = self._added.split(text) if "<" in text else [text]
        return len(parts) - 1 + sum(self._of(self._pieces.findall(part)) for part in parts)

    def _of(self, pieces: list[str]) -> int:
        counts = self._counts
        try:
            return sum(map(counts.__getitem__, pieces))
        except KeyError:
            pass
        missing = [piece for piece in dict.fromkeys(pieces) if piece not in counts]
        found = self._tokenizer.encode_batch_fast(missing, add_special_tokens=False)
        fresh = {piece: len(encoding) for piece, encoding in zip(missing, found, strict=True)}
        total = sum(counts[piece] if piece in counts else fresh[piece] for piece in pieces)
        if len(counts) > _MAX_PIECES:
            counts = self._counts = {}
        counts.update((piece, n) for piece, n in fresh.items() if len(piece) <= _MAX_LENGTH)
        return total


def piece_counter(tokenizer: Tokenizer) -> PieceCounter | None:
    """A counter for this tokenizer, or None where it is not built like Qwen's."""
    from tokenizers import models, normalizers, pre_tokenizers

    split = tokenizer.pre_tokenizer
    added = tokenizer.get_added_tokens_decoder().values()
    qwen = (
        isinstance(tokenizer.model, models.BPE) and not tokenizer.model.dropout
        and isinstance(tokenizer.normalizer, normalizers.NFC)
        and isinstance(split, pre_tokenizers.Sequence)
        and json.loads(split.__getstate__()).get("pretokenizers") in _SPLITS
        and all("<" in token.content and not (token.normalized or token.lstrip or token.rstrip
                                              or token.single_word) for token in added))
    return PieceCounter(tokenizer) if qwen else None


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Qwen's pattern in Python's syntax, and what makes a text one for the tokenizer.

    Letters and numbers are spelled out from Unicode's categories. Left to the tokenizer: what
    lies beyond the basic plane or is not assigned, the separators U+001C to U+001F that Python
    alone holds to be spaces, and two letters whose lower case is an ASCII letter.
    """
    letters, numbers, strange = [], [], [0x17F, 0x212A, *range(0x1C, 0x20)]
    for code in range(0x10000):
        category = unicodedata.category(chr(code))
        if category[0] == "L":
            letters.append(code)
        elif category[0] == "N":
            numbers.append(code)
        elif category in ("Cn", "Cs", "Co"):
            strange.append(code)
    letter, number = _ranges(letters), _ranges(numbers)
    pattern = QWEN_SPLIT.replace(r"[^\r\n\p{L}\p{N}]", rf"[^\r\n{letter}{number}]") \
        .replace(r"[^\s\p{L}\p{N}]", rf"[^\s{letter}{number}]") \
        .replace(r"\p{L}", f"[{letter}]").replace(r"\p{N}", f"[{number}]")
    return re.compile(pattern), re.compile(f"[{_ranges(sorted(strange))}\U00010000-\U0010ffff]")


def _ranges(codes: list[int]) -> str:
    """Code points as the inside of a character class."""
    text, start, last = "", codes[0], codes[0]
    for code in [*codes[1:], -1]:
        if code != last + 1:
            text += f"\\u{start:04x}-\\u{last:04x}"
            start = code
        last = code
    return text
