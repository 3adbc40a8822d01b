"""The blocks of README and docs: what is run, what is not, and why not.

A ```bash block is run, in order with the others of its page, in one folder, by bash. One that
cannot be run here has a line before it that says why:

    <!-- not run: needs a GPU -->

A block is what CommonMark calls one: also in a list, between tildes, or indented. Commands may
stand in ```bash blocks alone, so that none of them is passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from checkout import ROOT
from markdown_it import MarkdownIt

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")),
         ROOT / "drp_plugin/student/model/README.md"]
KINDS = ("bash", "python", "json", "yaml", "bibtex", "")
REASONS = ("needs a GPU", "needs a key", "needs the hub", "needs a cluster")
"""Why a block is not run; any other reason must name the test that has it, or stand in `OTHER`."""
OTHER = ("the demo and the tests have tests of their own",)
_REASON = re.compile(r"<!-- not run: (?P<why>.*?) -->\s*")
_COMMAND = re.compile(r"^\s*(?:[$>] |(?:drp|lmms-eval|llamafactory-cli|vllm|python3?|pip3?|uv|make|"
                      r"accelerate|torchrun|cd|export|cat|cp) )", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    page: Path
    line: int
    kind: str  # bash, python, json …; `indented` without a fence, `html` where a page writes <pre>
    text: str
    why_not: str | None  # None where it is run


def every_block(page: Path) -> list[Block]:
    """A page's blocks, in order."""
    found, reasons = list[Block](), dict[int, str]()  # a reason by the line that must follow it
    for token in MarkdownIt().parse(page.read_text("utf-8")):
        begin = (token.map or [0])[0]
        if token.type == "html_block":
            if told := _REASON.fullmatch(token.content):
                reasons[begin + 1] = told["why"]
            elif re.search(r"<(pre|code)\b", token.content):
                found.append(Block(page, begin + 1, "html", token.content, None))
        elif token.type in ("fence", "code_block"):
            kind = "indented" if token.type == "code_block" else token.info.strip()
            found.append(Block(page, begin + 1, kind, token.content, reasons.pop(begin, None)))
    if reasons:
        raise ValueError(f"{page.name}: no block follows the reason before line {min(reasons) + 1}")
    return found


def blocks(page: Path, kind: str) -> list[Block]:
    """A page's blocks of one kind, in order."""
    return [block for block in every_block(page) if block.kind == kind]


def passed_over(page: Path) -> list[Block]:
    """The blocks that no test would run, though they may hold commands."""
    return [block for block in every_block(page) if block.kind not in KINDS or (
        block.kind not in ("bash", "python") and _COMMAND.search(block.text))]
