"""Decisions by hand, made in the page of `drp inspect`: the rows of `RUN_DIR/edits.jsonl`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.records import Pruned, Record
from drp_plugin.run_dir import EDITS
from drp_plugin.thinking import join_response, split_response


class Edit(Record):
    """One decision on a pruned row; `response` is the whole new one, only with `edit`."""

    id: str
    action: Literal["accept", "reject", "edit"]
    response: str | None = None


def read_edits(run_dir: Path) -> dict[str, Edit]:
    """The last decision for each id, where there are any. Raises UserError for an unusable row."""
    path = Path(run_dir) / EDITS
    if not path.exists():
        return {}
    edits: dict[str, Edit] = {}
    for row in jsonl.rows(path):
        if row.value is None:
            raise UserError(row.error or "bad row", file=path, row=row.number)
        try:
            edit = Edit.model_validate(row.value)
        except ValidationError as error:
            raise UserError(jsonl.explain(error), file=path, row=row.number) from None
        if edit.action == "edit" and edit.response is None:
            raise UserError("an edit without a response", file=path, row=row.number,
                            fix="Give the new response, or the action accept or reject")
        if edit.action == "edit" and not all(split_response(edit.response or "")):
            raise UserError(f"the edited response of {edit.id!r} is not <think>…</think> and an "
                            "answer", file=path, row=row.number,
                            fix="Edit it again in the page of drp inspect")
        edits[edit.id] = edit
    return edits


class Decisions:
    """What was decided about the rows of a run, asked row by row. An edited row says so in its
    verdict (`{"edited": {"ok": True}}`), and with `count` (tokens of a text) its `tokens_after` are
    counted anew. Raises what `read_edits` raises."""

    def __init__(self, run_dir: Path, count: Callable[[str], int] | None = None) -> None:
        self.run_dir, self._count = Path(run_dir), count
        self._edits = read_edits(self.run_dir)
        self._unused = dict(self._edits)

    def touches(self, id_: Any) -> bool:
        """Whether anything was decided about the row of this id."""
        return isinstance(id_, str) and id_ in self._edits

    def of(self, row: Pruned) -> Pruned | None:
        """What a person left of a row: None where it was rejected."""
        edit = self._edits.get(row.id)
        self._unused.pop(row.id, None)
        if edit is None or edit.action == "accept":
            return row
        if edit.action == "reject":
            return None
        split = split_response(edit.response or "")
        response = join_response(split.thinking, split.answer)
        changes: dict[str, Any] = {"response": response,
                                   "verdict": {**row.verdict, "edited": {"ok": True}}}
        if self._count is not None:
            changes["tokens_after"] = self._count(response)
        return row.model_copy(update=changes)

    def finish(self) -> None:
        """Raises UserError for an edit of a row that the run does not have."""
        if self._unused:
            raise UserError(f"decides on {next(iter(self._unused))!r}, which is no pruned row of "
                            "this run", file=self.run_dir / EDITS,
                            fix="Remove that line, or export the edits anew")
