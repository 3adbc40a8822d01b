"""A run directory's contents: settings, results, figures; each file is complete or absent."""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.messages import Reply
from drp_plugin.records import Pruned, Question, Reason, Reject, Trace, Usage
from drp_plugin.redact import hide
from drp_plugin.resources import phrase
from drp_plugin.run_dir import LEDGER, PRUNED, REJECTS, SETTINGS, SUMMARY
from drp_plugin.seen import Numbers, digest

_made: set[Path] = set()  # Run directories that this process made
_UNASKED = (Reason.REQUEST_FAILED, Reason.EMPTY_REPLY)
FREE = {"input", "limit", "version"}  # Free to change: rows may be added, and releases differ


def prepare(run_dir: Path) -> None:
    jsonl.check_folder(run_dir)
    if not run_dir.exists():
        _made.add(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)


def unmake(run_dir: Path) -> None:
    """Remove what a run without any result left in its folder, and the folder if it made it."""
    if (run_dir / PRUNED).exists() or (run_dir / LEDGER).exists():
        return
    for name in (SETTINGS, SUMMARY, "stdin.jsonl"):
        (run_dir / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (run_dir / "batches").rmdir()
    if run_dir in _made:
        with contextlib.suppress(OSError):  # it holds something of the user's
            run_dir.rmdir()


@contextlib.contextmanager
def ledger_of(run_dir: Path) -> Iterator[Ledger]:
    """The ledger in a run's folder. Of a run that fails without any result nothing is left."""
    prepare(run_dir)
    try:
        with Ledger(run_dir / LEDGER) as ledger:
            yield ledger
    except BaseException:
        unmake(run_dir)
        raise


def same(*texts: Any) -> bytes:
    """The digest of these texts as they are in a file, where lone surrogates cannot be."""
    return digest(*(jsonl.encodable(str(text)) for text in texts))


def pruned_before(run_dir: Path) -> Numbers:
    """The lines of a run's pruned rows, by the digests of their questions."""
    path, lines = run_dir / PRUNED, Numbers()
    for row in jsonl.rows(path) if path.exists() else ():
        if row.value is not None and "id" in row.value:
            lines.put(same(row.value["id"], row.value.get("question")), row.number)
    return lines


def settle(run_dir: Path, settings: dict[str, Any], *, anew: bool = False) -> list[str]:
    """Write the run's settings, or compare: a change, which may pay for everything again, is a
    UserError unless `anew` is set. Returns the differences."""
    path = run_dir / SETTINGS
    plain = json.loads(hide(json.dumps(settings)))
    try:
        before = dict(jsonl.read_json(path)) if path.exists() else None
    except (OSError, ValueError, TypeError):
        raise UserError("cannot be read", file=path,
                        fix="Move the run directory away, or restore the file") from None
    changes = [] if before is None else differences(before, plain)
    if changes and not anew:
        raise UserError(f"this run was started with other settings: {'; '.join(changes)}",
                        file=run_dir, fix="Give another -o, or add --anew to continue here (stored "
                                          "replies stay; affected requests are sent again)")
    if before != plain:
        jsonl.write_json(path, plain)
    return changes


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The differences, as `name: old → new`, without settings that are free to change."""
    def show(value: Any) -> str:
        return "none" if value is None else value if isinstance(value, str) else json.dumps(value)

    found = []
    for name in sorted((before.keys() | now.keys()) - FREE):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new)
        elif old != new:
            found.append(f"{name}: {show(old)} → {show(new)}")
    return found


def check_rows(run_dir: Path, rows: Callable[[], Iterable[Question | Reject]]) -> None:
    """Raises UserError if some pruned rows, which the run would replace, are not among `rows`."""
    lines = pruned_before(run_dir)
    left, _ = lines.least()
    for row in rows() if left else ():
        left -= isinstance(row, Question) and lines.drop(same(row.id, row.question))
        if not left:
            return
    if left:
        raise UserError(phrase("not_in_input", left, file=PRUNED, row=lines.least()[1]),
                        file=run_dir, fix="Give another -o, or add --anew to replace what is there")


class Tally:
    """Takes results in the order of the input, writes and counts them."""

    def __init__(self, pruned: IO[str], rejects: IO[str], before: Numbers) -> None:
        self._pruned, self._rejects, self._before = pruned, rejects, before
        self.rows = self.pruned = self.steps = self.tokens_before = self.tokens_after = 0
        self.not_reached = 0  # Rows without a result because the run was stopped (budget, pilot)
        self.first_reject, self.used = "", Usage()
        self.reasons, self.stages, self.actions = Counter[str](), Counter[str](), Counter[str]()
        self.lost, self.first_lost = 0, ""  # Rows pruned before that could not be asked now
        self._counted = Numbers()

    @property
    def rejected(self) -> int:
        return sum(self.reasons.values())

    @property
    def balanced(self) -> bool:
        return self.rows == self.pruned + self.rejected + self.not_reached

    def add(self, row: Question | Reject, result: Pruned | Reject | None,
            replies: Iterable[Reply] = ()) -> None:
        """One row's result (None: not reached) and its replies; one of several rows counts once."""
        self.rows += 1
        for reply in replies if result is not None else ():
            if not reply.key or self._counted.first(digest(reply.key), 1) is None:
                self.used += reply.usage
        unasked = result is None or (isinstance(result, Reject) and result.reason in _UNASKED)
        if unasked and isinstance(row, Trace) and \
                self._before.get(same(row.id, row.question)) is not None:
            self.lost += 1
            self.first_lost = self.first_lost or getattr(result, "detail", "not reached")
        if result is None:
            self.not_reached += 1
        elif isinstance(result, Reject):
            self._rejects.write(jsonl.dumps(result) + "\n")
            self.reasons[result.reason.value] += 1
            self.first_reject = self.first_reject or f"{result.reason.value}: {result.detail}"
            self.stages[result.stage] += 1
        else:
            self._pruned.write(jsonl.dumps(result) + "\n")
            self.pruned += 1
            self.steps += len(result.steps)
            self.actions.update(r.action.value for r in result.revisions)
            self.tokens_before += result.tokens_before
            self.tokens_after += result.tokens_after

    def summary(self) -> dict[str, Any]:
        """The figures as one JSON object, without times: equal results are equal."""
        return {"complete": self.not_reached == 0,
            **{name: getattr(self, name) for name in ("rows", "pruned", "rejected", "not_reached")},
            "rejects": dict(sorted(self.reasons.items())),
            "rejects_by_stage": dict(sorted(self.stages.items())),
            "tokens_before": self.tokens_before, "tokens_after": self.tokens_after,
            "tokens_saved": (round(1 - self.tokens_after / self.tokens_before, 4)
                             if self.tokens_before else None),
            "steps_per_row": round(self.steps / self.pruned, 2) if self.pruned else None,
            "actions": dict(sorted(self.actions.items())),
            **self.used.model_dump(exclude={"keys", "cost_usd"}),
            "cost_usd": self.used.cost_usd and round(self.used.cost_usd, 6),
            "balanced": self.balanced}

    def line(self) -> str:
        text = f"{phrase('rows', self.rows)} = {self.pruned} pruned + {self.rejected} rejected"
        if self.not_reached:
            text += f" + {self.not_reached} not reached"
        if self.reasons:
            text += " (" + ", ".join(f"{r} {n}" for r, n in self.reasons.most_common()) + ")"
        if self.tokens_before:
            change = f"{100 * self.tokens_after / self.tokens_before - 100:+.1f}".replace("-", "−")
            text += f"; tokens {self.tokens_before:,} → {self.tokens_after:,} ({change} %)"
        cost = self.used.cost_usd
        text += f"; {phrase('requests', self.used.requests)}"
        return text if cost is None else f"{text}; ${cost:,.4f}"


@contextlib.contextmanager
def outputs(run_dir: Path, ledger: Ledger, settings: dict[str, object]) -> Iterator[Tally]:
    """The run's outputs, replaced all together when the block ends without an exception."""
    with (jsonl.replacing(run_dir / PRUNED) as pruned,
          jsonl.replacing(run_dir / REJECTS) as rejects):
        written = Tally(pruned, rejects, pruned_before(run_dir))
        yield written
        if written.lost:
            lost = phrase("lost", written.lost, first=written.first_lost, file=PRUNED)
            raise UserError(lost, file=run_dir, fix="Run it again when the teacher answers, or "
                                                    "give another -o")
    totals = ledger.totals()
    jsonl.write_json(run_dir / SUMMARY, {**written.summary(), "paid": {
        "requests": totals.replies, "cost_usd": totals.cost_usd and round(totals.cost_usd, 6)},
        **{k: settings[k] for k in ("command", "teacher", "decompose", "tokenizer", "prompts_hash")
           if k in settings}})
