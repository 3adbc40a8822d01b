"""One HTML page of a run, with nothing to load from elsewhere.

Rows lie in it as compressed parts, which no text can break out of. A script that the page's policy
names by its hash unpacks and shows them as text; MathML made here is the only markup."""

import hashlib
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from drp_plugin.inspection.edits import written
from drp_plugin.inspection.rows import Statistics, Teachings, not_reached, readable, rows
from drp_plugin.jsonl import encodable
from drp_plugin.mathml import FORMULA, formulas, framed, island, typeset
from drp_plugin.records import Action, Pruned, Reject
from drp_plugin.redact import visible
from drp_plugin.seen import Kept
from drp_plugin.thinking import split_response

_PART = 1_000_000  # Characters of a part
_START = 90  # Characters of a question in the list of rows
_SKILLS = 80  # The most frequent skills can be filtered by


def write_page(run_dir: Path, file: IO[str], *, limit: int | None = None, messages: bool = True,
               served: bool = False, tick: Callable[[], None] = lambda: None) -> Statistics:
    """Write the page; statistics are over all rows, `limit` cuts the rest. `messages` puts in what
    the teacher was asked and said. A `served` page sends its decisions to its server."""
    statistics = Statistics(not_reached=not_reached(run_dir))
    index = Kept[list[Any]]()
    names: defaultdict[str, int] = defaultdict()    # by number, so that each is stored once
    names.default_factory = names.__len__
    parts = Kept[str]()
    with Teachings(run_dir) as teachings:
        part: list[str] = []
        number = size = 0
        for row in rows(run_dir):
            statistics.add(row)
            tick()
            if limit is not None and len(index) >= limit:
                continue
            text = _json(_shown(row, teachings.of(row) if messages else []))
            index.append([*_line(row, names), number, len(part)])
            part.append(text)
            size += len(text)
            if size >= _PART:
                parts.append("".join(island(f"part-{number}", [f"[{','.join(part)}]"])))
                part, size, number = [], 0, number + 1
        parts.append("".join(island(f"part-{number}", [f"[{','.join(part)}]"])))
        frequent = {names[skill] for skill, _ in statistics.skills.most_common(_SKILLS)}
        head, script, tail = framed(Path(__file__), title=run_dir.resolve().name, served=served,
            run=statistics, visible=visible, actions=list(Action.__members__))
        start = _json({
            "key": hashlib.blake2b(os.fsencode(run_dir.resolve()), digest_size=8).hexdigest(),
            "edits": written(run_dir),
            "actions": list(Action.__members__), "formula": FORMULA, "served": served,
            "messages": messages, "names": list(names), "rows": []})
        # the index and the script come first, so that the list is there while the rest is read
        lines = ("," * bool(place) + _json([*line[:8], [skill for skill in line[8] if skill
            in frequent], *line[9:]]) for place, line in enumerate(index))
        listed = island("run", itertools.chain([start.removesuffix("]}")], lines, ["]}"]))
        file.writelines(itertools.chain([head], listed, [script], parts, [tail]))
    return statistics


def _json(value: Any) -> str:
    return encodable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _line(row: Pruned | Reject, names: dict[str, int]) -> list[Any]:
    """A row in the list: kind, id, the question's start, then by number data set and teacher,
    tokens before and after, actions (bits), skills, a check in doubt, the reject's reason."""
    if isinstance(row, Reject):
        data = row.row.get("dataset")
        return ["r", row.id, str(row.row.get("question") or row.detail)[:_START],
                names[data] if isinstance(data, str) else None, None, 0, 0, 0, [], 0,
                names[row.reason.value]]
    actions = {revision.action for revision in row.revisions}
    return ["p", row.id, row.question[:_START], names[row.dataset] if row.dataset else None,
            names[row.teacher], row.tokens_before, row.tokens_after,
            sum((action in actions) << bit for bit, action in enumerate(Action)),
            sorted({names[step.skill or "(no skill)"] for step in row.steps}),
            int(not all(ok for ok, _ in readable(row.verdict))), None]


def _shown(row: Pruned | Reject, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """A row as it is shown. `math` holds its formulas by their source."""
    usage, own = row.usage, row.row if isinstance(row, Reject) else row.model_dump()
    given = own.get("response" if isinstance(row, Reject) else "original")
    split = split_response(given) if isinstance(given, str) else None
    data: dict[str, Any] = {
        "id": row.id, "gold": typeset(own.get("answer")), "dataset": own.get("dataset"),
        "question": own.get("question") if split else _json(own), "original": bool(given),
        "model": own.get("model"), "thinking": split.thinking if split else None,
        "answer": split.answer if split else "",
        "cost": [usage.requests, usage.prompt_tokens, usage.completion_tokens, usage.cost_usd],
        "asked": [[said.get("tag", ""), said.get("messages", []), said["text"],
                   said["finish_reason"], said["prompt_tokens"], said["completion_tokens"],
                   said.get("cost_usd")] for said in asked]}
    if isinstance(row, Reject):
        data |= {"stage": row.stage, "reason": row.reason.value, "detail": row.detail,
                 "reply": row.reply}
    else:
        new = split_response(row.response)
        data |= {
            "teacher": row.teacher, "coverage": row.coverage, "checks": readable(row.verdict),
            "before": row.tokens_before, "after": row.tokens_after,
            # a step's place in T, else its text
            "steps": [[s.index, s.skill, s.start, s.end] if s.start is not None
                      and data["thinking"][s.start:s.end] == s.text else
                      [s.index, s.skill, None, s.text] for s in row.steps],
            "revisions": [[r.action.value, r.steps, r.text] for r in row.revisions],
            "newThinking": new.thinking, "newAnswer": new.answer}
    # a formula may span steps, or be in a revision only: each text is read by itself
    texts = [data["question"], data["gold"], data["thinking"], data["answer"], data.get("reply"),
             data.get("newThinking"), data.get("newAnswer"), data.get("detail"),
             *(text for _, text in data.get("checks", ())),
             *(step.text for step in getattr(row, "steps", ())),
             *(revision[2] for revision in data.get("revisions", ()))]
    data["math"] = {source: found for text in texts if isinstance(text, str)
                    for source, found in formulas(text)}
    return data
