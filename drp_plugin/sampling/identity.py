"""What determines a completion: its model and engine, in the ledger's keys, and its seed."""

import hashlib
import os
from pathlib import Path
from typing import Any

from drp_plugin.resources import table

_KINDS = {".safetensors", ".bin", ".pt", ".json", ".jinja", ".txt", ".model"}
_SMALL = 64 << 20


def identity(engine: str, model: str, *, revision: str | None = None,
             chat_template: str | None = None, adapter: str | None = None,
             **arguments: Any) -> dict[str, Any]:
    """What a completion of this model in this engine depends on, for the ledger's keys.
    `chat_template` is a file that replaces the model's own; `arguments` are the engine's,
    of which those that bear on speed alone are left out. A path is known by what is there."""
    known = {name: _value(value) for name, value in sorted(arguments.items())
             if name not in table("engines.yaml")["speed"] and value is not None}
    if adapter is not None:
        known["adapter"] = fingerprint(adapter)
    if chat_template is not None:
        known["template"] = Path(chat_template).read_text(encoding="utf-8")
    return {"engine": engine, **fingerprint(model, revision), **known}


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_value(v) for v in value]
    if isinstance(value, str) and os.sep in value:
        if Path(value).is_dir():
            return fingerprint(value)
        if Path(value).is_file():
            return hashlib.sha256(Path(value).read_bytes()).hexdigest()[:32]
    return value if isinstance(value, bool | int | float) else str(value)


def fingerprint(model: str, revision: str | None = None) -> dict[str, Any]:
    """What identifies a model's weights and tokenizer: a folder's files (content up to 64 MB, else
    by size and date), a hub name and its revision."""
    folder = Path(model)
    if not folder.is_dir():
        return {"model": model, **({"revision": revision} if revision else {})}
    digest = hashlib.sha256()
    for file in sorted(f for f in folder.iterdir() if f.suffix in _KINDS):
        stat = file.stat()
        mark = hashlib.sha256(file.read_bytes()).hexdigest() if stat.st_size <= _SMALL \
            else f"{stat.st_size} {stat.st_mtime_ns}"
        digest.update(f"{file.name} {mark}\n".encode())
    return {"files": digest.hexdigest()[:32]}


def derived_seed(base: int, *parts: Any) -> int:
    """A seed of 31 bits for one request, whatever the order of work."""
    text = "\0".join(str(part) for part in (base, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
