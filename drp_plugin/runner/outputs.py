"""The files of a run directory, each whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.messages import Reply
from drp_plugin.records import Pruned, Reject
from drp_plugin.run_dir import PRUNED, REJECTS, SUMMARY
from drp_plugin.runner.tally import Tally

_LEFTOVER = re.compile(r"^\..+\.(\d+)\.tmp$")


def prepare(run_dir: Path) -> None:
    """Make the run directory and remove what killed processes left half written.

    Raises UserError when it cannot be made.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError("is a file, not a folder", file=run_dir, fix="Give another -o") from None
    except OSError as error:
        raise UserError(f"cannot be made ({error.strerror})", file=run_dir) from None
    for file in run_dir.iterdir():
        match = _LEFTOVER.match(file.name)
        if match and not Path(f"/proc/{match[1]}").exists() and not alive(int(match[1])):
            file.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


class Outputs:
    """Takes results in input order; the files appear when the run ends."""

    def __init__(self, pruned: IO[str], rejects: IO[str]) -> None:
        self._pruned, self._rejects = pruned, rejects
        self.tally = Tally()

    def add(self, result: Pruned | Reject | None,
            replies: Iterable[Reply] = ()) -> None:
        """Write and count one row's result (see `Tally.add`)."""
        self.tally.add(result, replies)
        if result is not None:
            file = self._rejects if isinstance(result, Reject) else self._pruned
            file.write(jsonl.dumps(result) + "\n")


@contextlib.contextmanager
def outputs(run_dir: Path, ledger: Ledger, settings: dict[str, object]) -> Iterator[Outputs]:
    """The run's outputs: replaced all together when the block ends without an exception.

    While the run goes on, and after a crash, what an earlier run left stays.
    """
    with jsonl.replacing(run_dir / PRUNED) as pruned, jsonl.replacing(run_dir / REJECTS) as rejects:
        written = Outputs(pruned, rejects)
        yield written
    totals = ledger.totals()
    summary: dict[str, object] = {**written.tally.summary(), "balanced": written.tally.balanced,
               "paid": {"requests": totals.replies, "cost_usd": totals.cost_usd and
                        round(totals.cost_usd, 6)},
               **{k: settings[k] for k in ("command", "teacher", "decompose", "tokenizer",
                                           "prompts_hash") if k in settings}}
    with jsonl.replacing(run_dir / SUMMARY) as file:
        file.write(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
