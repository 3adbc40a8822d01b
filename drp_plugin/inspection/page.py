"""One HTML page of a run, with nothing to load from elsewhere.

Text that a model wrote goes into the page as JSON data in which `<`, `>`, `&` and direction marks
are escaped, and is shown by the script through `textContent` alone: it cannot become markup.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import IO, Any

import jinja2

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.inspection.edits import read_edits
from drp_plugin.inspection.run_statistics import Statistics, not_reached
from drp_plugin.records import Action, Pruned, Reject
from drp_plugin.run_dir import PRUNED, REJECTS
from drp_plugin.thinking import split_response

_HERE = Path(__file__).parent
_UNSAFE = re.compile("[<>&\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")


def rows(run_dir: Path) -> Iterator[Pruned | Reject]:
    """The pruned rows and then the rejects of a run; raises UserError where it is none."""
    pruned, rejects = run_dir / PRUNED, run_dir / REJECTS
    if not run_dir.is_dir():
        raise UserError("no such folder", file=run_dir, fix="Give the folder that drp prune wrote")
    if not pruned.exists() and not rejects.exists():
        raise UserError("has neither pruned.jsonl nor rejects.jsonl", file=run_dir,
                        fix="Give the folder that drp prune wrote")
    if pruned.exists():
        yield from jsonl.read(pruned, Pruned)
    if rejects.exists():
        yield from jsonl.read(rejects, Reject)


def write_page(run_dir: Path, file: IO[str], *, limit: int | None = None) -> Statistics:
    """Write the page; the statistics are over all rows, `limit` cuts how many can be looked at."""
    statistics = Statistics(not_reached=not_reached(run_dir))
    for row in rows(run_dir):
        statistics.add(row)
    run = {"key": hashlib.blake2b(str(run_dir.resolve()).encode(), digest_size=8).hexdigest(),
           "edits": [e.model_dump(exclude_none=True) for e in read_edits(run_dir).values()]}
    texts = {end: (_HERE / f"page.{end}").read_text("utf-8") for end in ("html", "css", "js")}
    page = jinja2.Template(texts["html"], autoescape=True, trim_blocks=True, lstrip_blocks=True,
                           keep_trailing_newline=True)
    head, _, tail = page.render(
        title=run_dir.resolve().name, style=texts["css"], script=texts["js"],
        run=embedded("run", run), **_figures(statistics)).partition("<!-- rows -->")
    file.write(head)
    index = []
    for number, row in enumerate(islice(rows(run_dir), limit)):  # read anew: memory stays flat
        line, data = _shown(row)
        index.append(line)
        file.write(embedded(f"row-{number}", data) + "\n")
    file.write(embedded("index", index) + "\n")
    file.write(tail)
    return statistics


def embedded(name: str, value: Any) -> str:
    """A JSON island: inert whatever its texts hold."""
    text = _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}",
                       json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    text = text.encode("utf-8", "replace").decode("utf-8")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _visible(text: str) -> str:
    """Direction marks by their numbers."""
    return re.sub("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]",
                  lambda match: f"U+{ord(match[0]):04X}", text)


def _shown(row: Pruned | Reject) -> tuple[list[Any], dict[str, Any]]:
    """A row in the list of rows (kind, id, and tokens or reason), and as it is looked at."""
    if isinstance(row, Reject):
        return ["r", row.id, row.stage, row.reason.value], {
            "id": row.id, "stage": row.stage, "reason": row.reason.value, "detail": row.detail,
            "reply": row.reply, "row": row.row}
    original, new = split_response(row.original), split_response(row.response)
    return ["p", row.id, row.tokens_before, row.tokens_after, len(row.steps)], {
        "id": row.id, "question": row.question, "gold": row.answer, "model": row.model,
        "teacher": row.teacher, "coverage": row.coverage, "verdict": row.verdict,
        "before": row.tokens_before, "after": row.tokens_after,
        "steps": [[step.index, step.skill, step.text] for step in row.steps],
        "revisions": [[r.action.value, list(r.steps), r.text] for r in row.revisions],
        # without steps, T itself is shown
        "thinking": None if row.steps else original.thinking,
        "answer": original.answer, "newThinking": new.thinking, "newAnswer": new.answer,
    }


def _figures(statistics: Statistics) -> dict[str, Any]:
    """The figures at the head of the page, readable without the script."""
    reduction, steps = statistics.reduction, statistics.steps
    facts = [
        ("pruned", f"{statistics.pruned:,}"),
        ("rejected", f"{sum(statistics.rejected.values()):,}"),
        *([("not reached", f"{statistics.not_reached:,}")] if statistics.not_reached else []),
        ("tokens before", f"{statistics.before:,}"),
        ("tokens after", f"{statistics.after:,}"),
        ("token reduction", "–" if reduction is None else f"{reduction:.1%}"),
        ("median share kept", f"{median(statistics.ratios):.1%}" if statistics.ratios else "–"),
        ("steps an example", f"{mean(steps):.1f} (median {median(steps):g})" if steps else "–"),
    ]
    skills = [(_visible(name[:60]), number, f"{statistics.deleted[name] / number:.0%} deleted")
              for name, number in statistics.skills.most_common(14)]
    shares = [(f"{10 * i}–{10 * i + 10} %" if i < 9 else "90 % and more", number)
              for i, number in enumerate(statistics.histogram())] if statistics.pruned else []
    return {"facts": facts, "actions": list(Action.__members__), "charts": [
        ("Steps by action", "action", statistics.actions.most_common()),
        ("Steps by skill", "", skills), ("Rows by share of tokens kept", "", shares),
        ("Rejects by reason", "reject", [(_visible(name[:60]), number) for name, number
                                         in statistics.rejected.most_common()])]}
