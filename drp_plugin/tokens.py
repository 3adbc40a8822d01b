"""Counting tokens as the paper does: the whole completion, Qwen tokenizer, no BOS (§4.6).

`<think>` and `</think>` count as one token each, as in R1-Distill's tokenizer, which is the Qwen
BPE plus added tokens: the counts equal the ids that the student itself generated."""

import contextlib
import json
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drp_plugin import hub
from drp_plugin.errors import UserError
from drp_plugin.jsonl import encodable
from drp_plugin.resources import table
from drp_plugin.thinking import CLOSE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

QWEN = "qwen"
PIECES = "qwen-pieces"
"""The approximation where Qwen's tokenizer cannot be had: 97.3 % of its count over 240 traces of
R1-Distill, 88 to 100 % for each, and with text that has spaces never more."""
STUDENT = "student"  # The embedded student's own tokenizer
QWEN_VARIABLE = "DRP_QWEN_TOKENIZER"
#: Repositories whose tokenizer.json holds the Qwen BPE together with R1's added tokens.
R1_REPOSITORIES = ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
                   "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B")
R1_ADDED: tuple[str, ...] = tuple(table("r1_tokens.yaml"))
#: Qwen's pre-tokenization, as in its tokenizer.json.
_SPLITS = table("qwen_split.yaml")
QWEN_SPLIT: str = _SPLITS[0][0]["pattern"]["Regex"]
#: A space at which words are not split. Only ASCII splits them, so that other white space need not
#: be known; `<` may begin an added token, before which several spaces are one piece.
_JOINT = re.compile(r" (?![!-;=-~])")
_MOST = 1 << 18
_LONGEST = 64  # Longer words (a line of Chinese, base64) occur once and would fill the table


class _Absent(UserError):
    """Qwen's tokenizer is not available here."""


class TokenCount(NamedTuple):
    """Tokens of a completion."""

    total: int
    think: int  # Up to and including the last `</think>`; all of them without one

    @property
    def answer(self) -> int:
        return self.total - self.think


class TokenCounter:
    """Counts and clips text by the tokens of one tokenizer; no BOS, EOS or template is added."""

    def __init__(self, tokenizer: "Tokenizer", name: str) -> None:
        self._tokenizer = tokenizer
        self.name = name
        added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        # an added token splits the text before BPE, so its two sides can be counted separately
        self._close_splits = CLOSE in added
        self._words = word_counter(tokenizer)

    @classmethod
    def load(cls, spec: str | Path = QWEN, *, exact: bool = True) -> "TokenCounter":
        """The counter for `qwen`, `qwen-pieces`, `student`, a folder, a tokenizer.json, a hub name.
        `qwen` comes from `qwen_file()`, the local hub cache, or the hub; without any of these and
        without `exact`, `qwen-pieces` counts instead. Raises UserError."""
        try:
            return _counter(str(spec))
        except _Absent:
            if exact:
                raise
            return _counter(PIECES)

    def same_as(self, other: "TokenCounter") -> bool:
        """Whether both hold the same tokenizer, under whatever names."""
        return self is other or self._tokenizer.to_str() == other._tokenizer.to_str()

    def count(self, text: str) -> int:
        return self.counts([text])[0] if self._words is None else self._words.count(encodable(text))

    def counts(self, texts: Sequence[str]) -> list[int]:
        batch = [encodable(text) for text in texts]
        if self._words is not None:
            return list(map(self._words.count, batch))
        return list(map(len, self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)))

    def split_counts(self, completions: Sequence[str]) -> list[TokenCount]:
        cut = [text.rpartition(CLOSE) if CLOSE in text else (text, "", "") for text in completions]
        if not self._close_splits:
            # here the tag is ordinary text and may share a token with its neighbours
            heads = self.counts([before + tag if tag else "" for before, tag, _ in cut])
            return [TokenCount(n, min(head, n) if tag else n) for n, head, (_, tag, _)
                    in zip(self.counts(completions), heads, cut, strict=True)]
        numbers = self.counts([part for before, _, after in cut for part in (before, after)])
        thinks = [n + bool(tag) for n, (_, tag, _) in zip(numbers[::2], cut, strict=True)]
        return [TokenCount(think + n, think)
                for think, n in zip(thinks, numbers[1::2], strict=True)]

    def clips(self, text: str, ns: Sequence[int]) -> list[str]:
        """For each `n` the longest prefix of `text` that the first `n` tokens hold completely."""
        if not ns:
            return []
        offsets = self._tokenizer.encode(encodable(text), add_special_tokens=False).offsets
        # a character of several tokens belongs to the prefix only when all of them do
        return [text if n >= len(offsets) else
                text[:min(offsets[n - 1][1] if n else 0, offsets[n][0])] for n in ns]


def count(completion: str, tokenizer: str | Path = QWEN) -> TokenCount:
    """Tokens of a completion: `total`, `think` and `answer`. `tokenizer` is as in
    `TokenCounter.load`. Raises UserError if it is not available."""
    return TokenCounter.load(tokenizer).split_counts([completion])[0]


class WordCounter:
    """Token counts of texts, from a table of words that grows.

    BPE never crosses the cuts of the pre-tokenization pattern. One is before every space that
    something other than white space follows: each distinct text between two is encoded once."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._first: dict[str, int] = {}  # Tokens of a text's first piece
        self._words: dict[str, int] = {}  # Tokens of a piece after a cut, with its space

    def count(self, text: str) -> int:
        if "\0" in text:  # which stands for such a space
            return len(self._tokenizer.encode(text, add_special_tokens=False))
        first, *words = _JOINT.sub("\0", text).split(" ")
        try:
            return self._first[first] + sum(map(self._words.__getitem__, words))
        except KeyError:
            return self._of([first], self._first, "") + self._of(words, self._words, " ")

    def _of(self, words: list[str], known: dict[str, int], space: str) -> int:
        missing = [word for word in dict.fromkeys(words) if word not in known]
        found = self._tokenizer.encode_batch_fast(
            [space + word.replace("\0", " ") for word in missing], add_special_tokens=False)
        fresh = {word: len(encoding) for word, encoding in zip(missing, found, strict=True)}
        total = sum(known[word] if word in known else fresh[word] for word in words)
        if len(known) > _MOST:
            known.clear()
        known.update((word, n) for word, n in fresh.items() if len(word) <= _LONGEST)
        return total


def word_counter(tokenizer: "Tokenizer") -> WordCounter | None:
    """A counter for this tokenizer, or None if it is not built like Qwen's."""
    from tokenizers import models, normalizers, pre_tokenizers

    split = tokenizer.pre_tokenizer
    added = tokenizer.get_added_tokens_decoder().values()
    qwen = (isinstance(tokenizer.model, models.BPE) and not tokenizer.model.dropout
        and isinstance(tokenizer.normalizer, normalizers.NFC)
        and isinstance(split, pre_tokenizers.Sequence)
        and json.loads(split.__getstate__()).get("pretokenizers") in _SPLITS
        and all(token.content.startswith("<") and " " not in token.content and not (
            token.normalized or token.lstrip or token.rstrip or token.single_word)
            for token in added))
    return WordCounter(tokenizer) if qwen else None


@lru_cache(maxsize=8)
def _counter(spec: str) -> TokenCounter:
    return TokenCounter(_pieces() if spec == PIECES else _from_file(_file(spec)), spec)


def _file(spec: str) -> Path:
    if spec == QWEN:
        return _qwen()
    if spec == STUDENT:
        from drp_plugin.student import model_path

        return model_path() / "tokenizer.json"
    path = Path(spec)
    if path.is_dir():
        path = path / "tokenizer.json"
        if not path.is_file():
            raise UserError("no tokenizer.json in this folder", file=spec,
                            fix="Give a model folder that has one, or --tokenizer qwen")
    if path.is_file():
        return path
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]*[\w-]", spec, re.ASCII) and len(spec) <= 96:
        if found := _from_hub(spec):
            return found
        raise UserError(f"tokenizer {spec!r} is neither in the hub cache nor can the hub be "
                        "reached", fix="Give a folder that holds its tokenizer.json")
    raise UserError(f"no tokenizer {spec!r}",
                    fix="Give qwen, qwen-pieces, student, a model folder, a tokenizer.json, or a "
                        "hub name like ORG/MODEL")


def _from_file(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise UserError(f"is not a tokenizer ({error})", file=path) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _from_hub(*repositories: str) -> Path | None:
    """tokenizer.json of one of them from the hub's cache or the hub; soon None without either."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    for repository in repositories:
        if isinstance(found := try_to_load_from_cache(repository, "tokenizer.json"), str):
            return Path(found)
    for repository in repositories if hub.reachable() else ():
        with contextlib.suppress(Exception):  # the caller says what to use instead
            return Path(hf_hub_download(repository, "tokenizer.json", etag_timeout=hub.WAIT_S))
    return None


def qwen_file() -> Path:
    """Where this machine keeps Qwen's tokenizer.json: the file or folder that DRP_QWEN_TOKENIZER
    names, else one in the user's cache, which `scripts/qwen_tokenizer.py` writes."""
    if given := os.environ.get(QWEN_VARIABLE):
        path = Path(given).expanduser()
        return path / "tokenizer.json" if path.is_dir() else path
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "drp_plugin" / "qwen" / "tokenizer.json"


def _qwen() -> Path:
    here = qwen_file()
    if here.is_file():
        return here
    if os.environ.get(QWEN_VARIABLE):
        raise UserError(f"no such file, and {QWEN_VARIABLE} names it", file=here,
                        fix="Name a tokenizer.json of R1-Distill-Qwen, or its folder")
    if found := _from_hub(*R1_REPOSITORIES):
        return found
    raise _Absent("the Qwen tokenizer is neither on this machine nor can the hub be reached",
                  fix=f"Set {QWEN_VARIABLE} to R1-Distill-Qwen's tokenizer.json, or run "
                      "scripts/qwen_tokenizer.py of a checkout")


def _pieces() -> "Tokenizer":
    """One token for each piece that Qwen's tokenizer cuts, or character of text without spaces."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    made = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.normalizer = normalizers.NFC()
    letters = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]"
    made.pre_tokenizer = pre_tokenizers.Split(Regex(f"{letters}|{QWEN_SPLIT}"), "isolated")
    made.add_tokens([AddedToken(tag, normalized=False) for tag in R1_ADDED])
    return made
