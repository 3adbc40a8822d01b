"""Markdown tables with measured figures, and whether their section names a command or a source."""

from __future__ import annotations

import re
from itertools import groupby

_UNIT = r"(?:tokens/s|ms|MB|kB|GB|GiB|hours?|%|×|s)(?![\w/])"
_FIGURE = re.compile(rf"^(?:about )?[+−]?\d[\d.,]*(?: (?:→|to) [\d.,]+)* ?{_UNIT}")
_UNIT_IN_HEAD = re.compile(rf"(?<![\w/]){_UNIT}|\btokens\b")
_SOURCE = re.compile(
    r"`(?:(?:python|drp|make|bash|lmms-eval|llamafactory-cli) [\w-][^`\n]*"
    r"|tests/[\w/]+\.py)`"                                   # a command, or the test that measures
    r"|^(?:python|make) \S+[^\n]*$|\]\(https?://"            # in a block of its own; a source
    r"|\bthe paper's (?:Table|Figure|Appendix) ", re.MULTILINE)


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]


def measured(table: list[str]) -> bool:
    """Whether a cell of the table is a figure with a unit, its own or its column's."""
    head, *rows = (_cells(line) for line in table if not re.fullmatch(r"[\s|:-]+", line))
    return any(_FIGURE.match(cell) or (re.match(r"[+−]?\d[\d.,]*(?: |$)", cell)
                                       and _UNIT_IN_HEAD.search(title))
               for row in rows for title, cell in zip(head, row, strict=False))


def unsourced(page: str) -> list[str]:
    """The first line of each table of measured figures whose section names no command, no source.

    A section runs from one heading to the next. Code blocks hold no tables.
    """
    found = []
    for section in re.split(r"^(?=#{1,6} )", page, flags=re.MULTILINE):
        prose = re.sub(r"^```.*?^```$", "", section, flags=re.MULTILINE | re.DOTALL)
        tables = [list(lines) for is_table, lines in groupby(
            prose.splitlines(), key=lambda line: line.startswith("|")) if is_table]
        if not _SOURCE.search(section):
            found += [table[0] for table in tables if measured(table)]
    return found
