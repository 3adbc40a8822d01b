"""The command blocks of README and docs: what is run, what is not, and why not.

A ```bash block is run, in order with the others of its page, in one folder, by bash. One that
cannot be run here has a line before it that says why:

    <!-- not run: needs a GPU -->
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from checkout import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
REASONS = ("needs a GPU", "needs a key", "needs the hub", "needs a cluster")
"""Why a block is not run; any other reason must name the test that has it, or stand in `OTHER`."""
OTHER = ("the demo and the tests have tests of their own",)
_BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>[^\n]*?) -->\n)?^```(?P<kind>\w*)[^\n]*\n"
                    r"(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    kind: str  # bash, python, json …
    text: str
    why_not: str | None  # None where it is run


def blocks(page: Path, kind: str) -> list[Block]:
    """A page's blocks of one kind, in order."""
    text = page.read_text("utf-8")
    return [Block(page, text.count("\n", 0, found.start()) + 1, kind, found["text"], found["why"])
            for found in _BLOCK.finditer(text) if found["kind"] == kind]
