"""Small traces, and what a run over them left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEY = "sk-proj-VerySecretKey1234567890abcdefXYZ"


def traces(path: Path, count: int, *, start: int = 0) -> Path:
    """Small R1-like traces, all different."""
    rows = []
    for n in range(start, start + count):
        a, b = 13 + n, 7 + n % 11
        thinking = (
            f"Okay, so I need to find how many apples there are. Tom has {a} apples and Ann has "
            f"{b} apples.\n\nLet me add them: {a} + {b} = {a + b}. So together they have {a + b} "
            f"apples.\n\nWait, let me double-check that. {a} plus {b} is {a + b}. Yes, that is "
            f"right.\n\nHmm, so the total must be {a + b}. I think the answer is {a + b}.")
        rows.append({"id": f"q{n}", "question": f"Tom has {a} apples and Ann has {b}. How many "
                     f"apples do they have together?", "answer": str(a + b),
                     "response": f"<think>\n{thinking}\n</think>\n\nThey have "
                                 f"\\boxed{{{a + b}}} apples."})
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def rows_of(run: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """A run directory's pruned rows, rejects and summary."""
    read = [[json.loads(x) for x in (run / f).read_text().splitlines()]
            for f in ("pruned.jsonl", "rejects.jsonl")]
    return read[0], read[1], json.loads((run / "summary.json").read_text())


def everything_written(folder: Path) -> bytes:
    """All bytes below a folder."""
    return b"".join(f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file())


def batch(provider, data, run, kind, *more):
    url = provider.url if kind == "openai" else provider.gemini_url
    return ("prune", data, "-o", run, "--teacher", f"{kind}:rules", "--base-url", url, "--batch",
            "--poll", "0.02", *more)


def unbatched(command):
    """The command of a batch run as one of live requests."""
    return [a for a in command if a != "--batch"]
