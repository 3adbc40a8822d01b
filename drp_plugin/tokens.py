"""Counting tokens as the paper does: the whole completion, Qwen tokenizer, no BOS (§4.6).

`<think>` and `</think>` count as one token each, as in R1-Distill's tokenizer, which is the Qwen
BPE plus added tokens: the counts equal the ids that the student itself generated.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.pretokens import QWEN_SPLIT, piece_counter
from drp_plugin.thinking import CLOSE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

QWEN = "qwen"
STUDENT = "student"
"""The embedded student's own tokenizer."""
#: Repositories whose tokenizer.json holds the Qwen BPE together with R1's added tokens.
R1_REPOSITORIES = ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
                   "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B")
#: Added tokens of R1-Distill-Qwen, ids from 151643.
R1_ADDED = (
    "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<|EOT|>",
    "<think>", "</think>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>",
    "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
    "<|file_sep|>",
)
_HUB_WAIT = 4.0


class TokenCount(NamedTuple):
    """Tokens of a completion."""

    total: int
    think: int
    """Up to and including the last `</think>`; all of them where there is none."""

    @property
    def answer(self) -> int:
        return self.total - self.think


class TokenCounter:
    """Counts and clips text by the tokens of one tokenizer; no BOS, EOS or template is added."""

    def __init__(self, tokenizer: Tokenizer, name: str) -> None:
        self._tokenizer = tokenizer
        self.name = name
        added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        # an added token splits the text before BPE, so its two sides can be counted apart
        self._close_splits = CLOSE in added
        self._pieces = piece_counter(tokenizer)

    @classmethod
    def load(cls, spec: str | Path = QWEN) -> TokenCounter:
        """The counter for `qwen` (default), `student`, a folder, a tokenizer.json, or a hub name.

        `qwen` comes from the local hub cache, else from the ranks that the package `dashscope`
        carries, else from the hub. Raises UserError when the tokenizer cannot be had.
        """
        return _counter(str(spec))

    def same_as(self, other: TokenCounter) -> bool:
        """Whether both hold the same tokenizer, under whatever names."""
        return self is other or self._tokenizer.to_str() == other._tokenizer.to_str()

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        return self.counts([text])[0]

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        batch = [_clean(text) for text in texts]
        counts = [self._pieces.count(text) if self._pieces else None for text in batch]
        rest = [i for i, count in enumerate(counts) if count is None]
        found = self._tokenizer.encode_batch_fast([batch[i] for i in rest],
                                                  add_special_tokens=False)
        for i, encoding in zip(rest, found, strict=True):
            counts[i] = len(encoding)
        return [count or 0 for count in counts]

    def split_counts(self, completions: Sequence[str]) -> list[TokenCount]:
        """Tokens of each completion, whole and thinking part."""
        pieces: list[str] = []
        for text in completions:
            before, tag, after = text.rpartition(CLOSE)
            pieces += [before, after] if tag else [text, ""]
        closed = [CLOSE in text for text in completions]
        if not self._close_splits:
            # here the tag is ordinary text and may share a token with its neighbours
            whole = self.counts(completions)
            heads = self.counts([before + CLOSE if shut else "" for before, shut
                                 in zip(pieces[::2], closed, strict=True)])
            return [TokenCount(n, min(head, n) if shut else n)
                    for n, head, shut in zip(whole, heads, closed, strict=True)]
        numbers = self.counts(pieces)
        result = []
        for shut, before_n, after_n in zip(closed, numbers[::2], numbers[1::2], strict=True):
            think = before_n + shut
            result.append(TokenCount(think + after_n, think))
        return result

    def clip(self, text: str, n: int) -> str:
        """The longest prefix of `text` that the first `n` tokens hold completely."""
        return self.clips(text, [n])[0]

    def clips(self, text: str, ns: Sequence[int]) -> list[str]:
        """`clip` at several lengths."""
        if not ns:
            return []
        encoding = self._tokenizer.encode(_clean(text), add_special_tokens=False)
        offsets = encoding.offsets
        prefixes = []
        for n in ns:
            if n >= len(offsets):
                prefixes.append(text)
                continue
            end, following = offsets[n - 1][1] if n > 0 else 0, offsets[n][0]
            # a character of several tokens belongs to the prefix only when all of them do
            prefixes.append(text[:min(end, following)])
        return prefixes


def _clean(text: str) -> str:
    """Text that can be UTF-8: JSON lets lone surrogates through, tokenizers does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


@lru_cache(maxsize=8)
def _counter(spec: str) -> TokenCounter:
    tokenizer, name = _load(spec)
    return TokenCounter(tokenizer, name)


def _load(spec: str) -> tuple[Tokenizer, str]:
    if spec == QWEN:
        return _qwen(), QWEN
    if spec == STUDENT:
        from drp_plugin.student import model_path

        return _from_file(model_path() / "tokenizer.json"), spec
    path = Path(spec)
    if path.is_dir():
        path = path / "tokenizer.json"
        if not path.is_file():
            raise UserError("no tokenizer.json in this folder", file=spec,
                            fix="Give a model folder that has one, or --tokenizer qwen")
    if path.is_file():
        return _from_file(path), spec
    if spec.count("/") == 1 and not spec.startswith((".", "/", "~")):
        found = _cached(spec) or _download(spec)
        if found:
            return _from_file(found), spec
        raise UserError(f"tokenizer {spec!r} is neither in the hub cache nor can the hub be "
                        "reached", fix="Give a folder that holds its tokenizer.json")
    raise UserError(f"no tokenizer {spec!r}",
                    fix="Give qwen, student, a model folder, a tokenizer.json, or a hub name "
                        "like ORG/MODEL")


def _from_file(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise UserError(f"is not a tokenizer ({error})", file=path) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _cached(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "tokenizer.json")
    return Path(found) if isinstance(found, str) else None


def _download(repository: str) -> Path | None:
    """tokenizer.json from the hub, or None within seconds when it cannot be reached."""
    from huggingface_hub import constants, hf_hub_download

    if constants.HF_HUB_OFFLINE or not _reachable(constants.ENDPOINT):
        return None
    try:
        return Path(hf_hub_download(repository, "tokenizer.json", etag_timeout=_HUB_WAIT))
    except Exception:  # whatever failed, the caller says what to give instead
        return None


def _reachable(endpoint: str) -> bool:
    """Whether the hub takes a connection; the hub client itself retries for minutes."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    parts = urlsplit(getproxies().get(urlsplit(endpoint).scheme) or endpoint)
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        with socket.create_connection((parts.hostname or "", port), timeout=_HUB_WAIT):
            return True
    except OSError:
        return False


def _qwen() -> Tokenizer:
    for repository in R1_REPOSITORIES:
        found = _cached(repository)
        if found:
            return _from_file(found)
    ranks = _dashscope_ranks()
    if ranks is not None:
        return _from_file(_replayed(ranks))
    for repository in R1_REPOSITORIES:
        found = _download(repository)
        if found:
            return _from_file(found)
    raise UserError(
        "the Qwen tokenizer cannot be had: not in the hub cache, no package dashscope, hub not "
        "reachable", fix="Run `pip install dashscope`, or give --tokenizer a folder with "
        "R1-Distill's tokenizer.json")


def _dashscope_ranks() -> Path | None:
    """Qwen's published BPE ranks, which the package `dashscope` (Apache-2.0) carries."""
    from importlib.util import find_spec

    # find_spec does not run the package: its import is slow and talks to its own service
    spec = find_spec("dashscope")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "resources" / "qwen.tiktoken"
        if path.is_file():
            return path
    return None


def _replayed(ranks: Path) -> Path:
    """A tokenizer.json of the Qwen BPE and R1's added tokens, made once from tiktoken ranks."""
    data = ranks.read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drp_plugin"
    name = f"qwen-{hashlib.sha256(data).hexdigest()[:12]}-2.json"
    path = home / name
    if path.is_file():
        return path
    text = json.dumps(qwen_tokenizer_json(data), ensure_ascii=False)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError:
        home = Path(tempfile.mkdtemp(prefix="drp_plugin-"))
    handle, temporary = tempfile.mkstemp(dir=home, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, home / name)
    return home / name


def qwen_tokenizer_json(ranks: bytes) -> dict[str, object]:
    """tiktoken ranks as the tokenizer.json of R1-Distill-Qwen.

    The merge that made a token is found by running BPE on its bytes with the lower ranks only:
    what is left at the end are the two parts.
    """
    import base64

    rank_of: dict[bytes, int] = {}
    for line in ranks.splitlines():
        if line:
            spelling, _, number = line.partition(b" ")
            rank_of[base64.b64decode(spelling)] = int(number)
    letters = _byte_letters()

    def spelled(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for token, rank in sorted(rank_of.items(), key=lambda item: item[1]):
        if len(token) > 1:
            left, right = _parts(token, rank, rank_of)
            merges.append([spelled(left), spelled(right)])
    base = len(rank_of)
    added = [{"id": base + i, "content": content, "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False, "special": not content.startswith(
                  ("<think", "</think", "<tool", "</tool", "<|fim", "<|repo", "<|file"))}
             for i, content in enumerate(R1_ADDED)]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": QWEN_SPLIT}, "behavior": "Isolated",
             "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
             "use_regex": False}]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
                    "use_regex": False},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {spelled(token): rank for token, rank in rank_of.items()},
                  "merges": merges},
    }


def _parts(token: bytes, limit: int, rank_of: dict[bytes, int]) -> list[bytes]:
    pieces = [token[i:i + 1] for i in range(len(token))]
    while len(pieces) > 2:
        best, where = limit, -1
        for i in range(len(pieces) - 1):
            rank = rank_of.get(pieces[i] + pieces[i + 1], limit)
            if rank < best:
                best, where = rank, i
        if where < 0:
            raise ValueError(f"token {token!r} cannot be made from lower ranks")
        pieces[where:where + 2] = [pieces[where] + pieces[where + 1]]
    return pieces


def _byte_letters() -> dict[int, str]:
    """GPT-2's printable letter for each byte, in which byte-level vocabularies are spelled."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    extra = 256
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(extra)
            extra += 1
    return letters
