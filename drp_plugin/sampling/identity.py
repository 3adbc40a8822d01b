"""Which weights these are: stored completions of another model are never taken for this one's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

_KINDS = {".safetensors", ".bin", ".pt", ".json", ".jinja", ".txt", ".model"}
_SMALL = 64 << 20


def fingerprint(model: str, revision: str | None = None) -> dict[str, Any]:
    """What identifies a model's weights and tokenizer.

    A folder is identified by its files: by content up to 64 MB, larger ones by size and date.
    A hub name is identified by itself and its revision.
    """
    folder = Path(model)
    if not folder.is_dir():
        return {"model": model, **({"revision": revision} if revision else {})}
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix not in _KINDS:
            continue
        stat = file.stat()
        mark = f"{stat.st_size} {stat.st_mtime_ns}"
        if stat.st_size <= _SMALL:
            mark = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.name} {mark}\n".encode())
    return {"files": digest.hexdigest()[:32]}
