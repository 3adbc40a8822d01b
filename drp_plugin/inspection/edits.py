"""Decisions by hand, made in the page of `drp inspect`: the rows of `RUN_DIR/edits.jsonl`."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.pruning import PruneOptions
from drp_plugin.records import Pruned, Record, Reject, Trace
from drp_plugin.run_dir import EDITS, REJECTS, SETTINGS
from drp_plugin.thinking import Unfit, shaped, split_response

CHECKS = ("complete", "answer", "numbers", "length", "language")


class Edit(Record):
    """One decision on a row. `response` is the whole new one: with `edit` it is checked like a
    teacher's work, with `accept` it is taken whatever the checks find."""

    id: str
    action: Literal["accept", "reject", "edit"]
    response: str | None = None


def read_edits(run_dir: Path) -> dict[str, Edit]:
    """The last decision for each id, where there are any. Raises UserError for an unusable row."""
    path = Path(run_dir) / EDITS
    if not path.exists():
        return {}
    edits: dict[str, Edit] = {}
    for edit in jsonl.read(path, Edit):
        if edit.action == "edit" and edit.response is None:
            raise UserError(f"the edit of {edit.id!r} is without a response", file=path,
                            fix="Give the new response, or the action accept or reject")
        edits[edit.id] = edit
    return edits


def written(run_dir: Path) -> list[dict[str, Any]]:
    return [e.model_dump(exclude_none=True) for e in read_edits(run_dir).values()]


def check_edit(row: Pruned, response: str, options: PruneOptions,
               count: Callable[[str], int]) -> dict[str, Any]:
    """What each check of `drp prune` finds in a response written by hand; one that fails has a
    `reason`. All checks of the run are made, even after one fails."""
    from drp_plugin.grading import extract
    from drp_plugin.pruning.dialogue import CheckedTrace, Rejection, Result
    from drp_plugin.pruning.flow import verify

    kind: Literal["edit", "no_thinking"] = "no_thinking" if row.teacher == "no-thinking" else "edit"
    try:
        text = shaped(response, thinking=kind == "edit")
    except Unfit as unfit:
        return {"shape": {"ok": False, "reason": unfit.reason, "detail": unfit.detail}}
    before, after = split_response(row.original), split_response(text)
    trace = Trace.model_validate({**row.model_dump(), "response": row.original})
    # where the student is wrong, an edit may be right
    final = extract(row.original).text if options.keep_wrong or not row.answer else row.answer
    checked = CheckedTrace(trace, before.thinking, before.answer, final)
    result = Result((), (), after.thinking, after.answer, kind=kind)
    found: dict[str, Any] = {"shape": {"ok": True}}
    for name in (name for name in CHECKS if getattr(options, f"check_{name}")):
        alone = options.model_copy(update={f"check_{other}": other == name for other in CHECKS})
        try:
            found |= verify(checked, result, (row.tokens_before, count(text)), alone)
        except Rejection as failed:
            found[name] = {"ok": False, "reason": failed.reason.value, "detail": failed.detail}
    return found


class Decisions:
    """What was decided about the rows of a run, asked row by row. `count` gives a text's tokens; by
    default it is the tokenizer of the run. Raises what `read_edits` raises."""

    def __init__(self, run_dir: Path, count: Callable[[str], int] | None = None) -> None:
        self.run_dir, self._given = Path(run_dir), count
        self._edits = read_edits(self.run_dir)
        self._unused = dict(self._edits)
        try:
            self.settings = jsonl.read_json(self.run_dir / SETTINGS)
            self.options = PruneOptions.model_validate({
                k: v for k, v in self.settings.items() if k in PruneOptions.model_fields})
        except (OSError, ValueError, AttributeError):  # a folder made by hand: the own defaults
            self.settings, self.options = {}, PruneOptions(teacher="by hand")

    @cached_property
    def count(self) -> Callable[[str], int]:
        from drp_plugin.tokens import QWEN, TokenCounter

        return self._given or TokenCounter.load(self.settings.get("tokenizer", QWEN),
                                                exact=False).count

    def touches(self, id_: Any) -> bool:
        return isinstance(id_, str) and id_ in self._edits

    def of(self, row: Pruned) -> Pruned:
        """The row as a person left it; an edited one gets new tokens and a verdict that says so.
        Raises Unfit where it was rejected, or its edit fails a check and was not accepted."""
        edit = self._edits.get(row.id)
        self._unused.pop(row.id, None)
        if edit is not None and edit.action == "reject":
            raise Unfit("rejected_by_hand", f"rejected in {EDITS}")
        if edit is None or edit.response is None:
            return row
        verdict = check_edit(row, edit.response, self.options, self.count)
        failed = {name: found for name, found in verdict.items() if "reason" in found}
        if failed and edit.action != "accept":
            raise Unfit("edit_refused", "; ".join(f["detail"] for f in failed.values()))
        response = edit.response if "shape" in failed else shaped(
            edit.response, thinking=row.teacher != "no-thinking")
        how = "edited" + f", accepted in spite of {', '.join(failed)}" * bool(failed)
        return row.model_copy(update={"response": response, "tokens_after": self.count(response),
            "verdict": {**verdict, "edited": {"ok": not failed, "how": how}}})

    def rescued(self) -> Iterator[tuple[int, str, Pruned | Unfit]]:
        """Rejects for which a person wrote a response: number, id, and the row as `of` gives it, or
        why it is left out. Raises UserError for an edit of a row that the run does not have."""
        rejects = self.run_dir / REJECTS
        for row in jsonl.rows(rejects) if self._unused and rejects.exists() else ():
            edit = self._unused.pop((row.value or {}).get("id", ""), None)
            if edit is None or edit.action == "reject":  # it is rejected already
                continue
            if edit.response is None:
                raise UserError(f"accepts the reject {edit.id!r} without a response",
                                file=self.run_dir / EDITS, fix="Give the response to train on")
            try:
                yield row.number, edit.id, self.of(self.unpruned(Reject.model_validate(row.value)))
            except Unfit as unfit:
                yield row.number, edit.id, unfit
        for id_ in self._unused:
            raise UserError(f"decides on {id_!r}, which is not an editable row of this run",
                file=self.run_dir / EDITS, fix="Remove that line, or export the edits anew")

    def unpruned(self, reject: Reject) -> Pruned:
        """A reject as a row with the student's own response. Raises Unfit without a trace."""
        try:
            trace = Trace.model_validate(reject.row)
        except ValidationError:
            raise Unfit("bad_row", "a reject that holds no trace cannot be rescued") from None
        tokens = self.count(trace.response)
        return Pruned(**trace.model_dump(), original=trace.response, usage=reject.usage,
            tokens_before=tokens, tokens_after=tokens, teacher=self.options.teacher,
            prompts_hash=str(self.settings.get("prompts_hash", "")))
