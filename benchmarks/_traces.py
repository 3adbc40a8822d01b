"""The real traces that a benchmark goes through, by the arguments that name them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from drp_plugin.reading import traces
from drp_plugin.records import Trace

_FILE = Path(os.environ.get("DRP_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data",
             "traces_math_train_r1distill.jsonl")


def arguments(text: str) -> argparse.ArgumentParser:
    """A parser with `--traces` and `--limit`; `text` describes the benchmark."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--traces", type=Path, default=_FILE)
    parser.add_argument("--limit", type=int, help="only the first so many traces")
    return parser


def given_traces(given: argparse.Namespace) -> list[Trace]:
    """The traces that can be read. Without the file there is nothing to measure: that ends the
    benchmark well, since the data of others are not part of a checkout."""
    if not given.traces.exists():
        print(f"no traces at {given.traces}: give --traces FILE", file=sys.stderr)
        sys.exit(0)
    return [row for row in traces(given.traces) if isinstance(row, Trace)][:given.limit]
