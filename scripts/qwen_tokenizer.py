"""Writes the tokenizer.json of R1-Distill-Qwen where `drp_plugin.tokens` looks for it.

    python scripts/qwen_tokenizer.py [FILE]

A machine that cannot reach the hub can still count tokens exactly: Qwen's published BPE ranks come
in the package `dashscope` (Apache-2.0), and the merges and added tokens follow from them. FILE is
DRP_QWEN_TOKENIZER, else ~/.cache/drp_plugin/qwen/tokenizer.json. `make setup` runs this.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from drp_plugin.tokens import QWEN_SPLIT, R1_ADDED, qwen_file


def published_ranks() -> Path | None:
    """Qwen's published BPE ranks, which the package `dashscope` (Apache-2.0) carries."""
    # find_spec does not run the package: its import is slow and talks to its own service
    spec = find_spec("dashscope")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "resources" / "qwen.tiktoken"
        if path.is_file():
            return path
    return None


def qwen_tokenizer_json(ranks: bytes) -> dict[str, object]:
    """tiktoken ranks as the tokenizer.json of R1-Distill-Qwen.

    The merge that made a token is found by running BPE on its bytes with the lower ranks only:
    what is left at the end are the two parts.
    """
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


def main(arguments: list[str]) -> int:
    """0 written or there already, 2 without the ranks."""
    path = Path(arguments[0]) if arguments else qwen_file()
    ranks = published_ranks()
    if ranks is None:
        print("qwen_tokenizer: no published ranks here. Run `pip install dashscope`",
              file=sys.stderr)
        return 2
    text = json.dumps(qwen_tokenizer_json(ranks.read_bytes()), ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
