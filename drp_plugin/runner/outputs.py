"""The files of a run directory, each whole or not there."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.messages import Reply
from drp_plugin.records import Pruned, Question, Reason, Reject, Trace
from drp_plugin.run_dir import PRUNED, REJECTS, SETTINGS, SUMMARY
from drp_plugin.runner.tally import Tally
from drp_plugin.seen import Numbers, digest

_made: set[Path] = set()  # Run directories that this process made
_UNASKED = (Reason.REQUEST_FAILED, Reason.EMPTY_REPLY)


def prepare(run_dir: Path) -> None:
    """Make the run directory."""
    try:
        if not run_dir.exists():
            _made.add(run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError("is a file, not a folder", file=run_dir, fix="Give another -o") from None
    except OSError as error:
        raise UserError(f"cannot be made ({error.strerror})", file=run_dir) from None


def unmake(run_dir: Path) -> None:
    """Remove what a run that came to nothing left in its folder, and the folder if it made it."""
    if (run_dir / PRUNED).exists():
        return
    for name in (SETTINGS, SUMMARY, "stdin.jsonl"):
        (run_dir / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (run_dir / "batches").rmdir()
    if run_dir in _made:
        with contextlib.suppress(OSError):  # there is something of the user's in it
            run_dir.rmdir()


def same(*texts: Any) -> bytes:
    """What these texts are known by as they are in a file, where lone surrogates cannot be."""
    return digest(*(str(text).encode("utf-8", "replace").decode() for text in texts))


def pruned_before(run_dir: Path) -> Numbers:
    """The lines of a run's pruned rows, by what their questions are known by."""
    path, lines = run_dir / PRUNED, Numbers()
    for row in jsonl.rows(path) if path.exists() else ():
        if row.value is not None and "id" in row.value:
            lines.put(same(row.value["id"], row.value.get("question")), row.number)
    return lines


class Outputs:
    """Takes results in input order; the files appear when the run ends."""

    def __init__(self, pruned: IO[str], rejects: IO[str], before: Numbers) -> None:
        self._pruned, self._rejects, self._before = pruned, rejects, before
        self.lost, self.first_lost = 0, ""
        """Rows that were pruned before and could not be asked now."""
        self.tally = Tally()

    def add(self, row: Question | Reject, result: Pruned | Reject | None,
            replies: Iterable[Reply] = ()) -> None:
        """Write and count one row's result (see `Tally.add`)."""
        self.tally.add(result, replies)
        unasked = result is None or (isinstance(result, Reject) and result.reason in _UNASKED)
        if unasked and isinstance(row, Trace) and \
                self._before.get(same(row.id, row.question)) is not None:
            self.lost += 1
            self.first_lost = self.first_lost or getattr(result, "detail", "not reached")
        if result is not None:
            file = self._rejects if isinstance(result, Reject) else self._pruned
            file.write(jsonl.dumps(result) + "\n")


@contextlib.contextmanager
def outputs(run_dir: Path, ledger: Ledger, settings: dict[str, object]) -> Iterator[Outputs]:
    """The run's outputs: replaced all together when the block ends without an exception; until
    then what an earlier run left stays."""
    with (jsonl.replacing(run_dir / PRUNED, private=True) as pruned,
          jsonl.replacing(run_dir / REJECTS, private=True) as rejects):
        written = Outputs(pruned, rejects, pruned_before(run_dir))
        yield written
        if written.lost:
            raise UserError(
                f"{written.lost} rows that were pruned before could not be had now (the first: "
                f"{written.first_lost}): {PRUNED} and the others stay as they were", file=run_dir,
                fix="Run it again when the teacher answers, or give another -o")
    totals = ledger.totals()
    summary: dict[str, object] = {**written.tally.summary(), "balanced": written.tally.balanced,
               "paid": {"requests": totals.replies, "cost_usd": totals.cost_usd and
                        round(totals.cost_usd, 6)},
               **{k: settings[k] for k in ("command", "teacher", "decompose", "tokenizer",
                                           "prompts_hash") if k in settings}}
    with jsonl.replacing(run_dir / SUMMARY, private=True) as file:
        file.write(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
