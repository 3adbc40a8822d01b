"""Writes the problems that ship with the embedded student: drp_plugin/student/questions.jsonl.gz.

    python scripts/student/questions.py

Seeded: the same file every time. `tiny:SPLIT:LEVELS:N` takes its first rows.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from problems import levels, questions

COUNTS = {"sft": 2500, "eval": 1200}
"""Rows of each level; the sft split has no `ood`."""
OUT = Path(__file__).resolve().parents[2] / "drp_plugin" / "student" / "questions.jsonl.gz"


def main() -> None:
    rows = [{"split": split, **row} for split, n in COUNTS.items() for level in levels()
            if (split, level) != ("sft", "ood") for row in questions(split, level, n)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    OUT.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(rows)} problems in {OUT}")


if __name__ == "__main__":
    main()
