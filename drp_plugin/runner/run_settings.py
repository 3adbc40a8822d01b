"""`settings.json`: a run that goes on must be the same run."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.records import Question, Reject
from drp_plugin.run_dir import PRUNED, SETTINGS
from drp_plugin.runner.outputs import pruned_before, same

FREE = {"input", "limit", "version"}
"""Recorded, but free to change: rows may be added, and releases come."""


def settle(run_dir: Path, settings: dict[str, Any], *, anew: bool = False) -> list[str]:
    """Write the run's settings, or compare them with those it was begun with. A changed setting
    replaces the run's results, and may pay for all of it again: it is a UserError unless `anew` is
    set. Returns the differences."""
    path = run_dir / SETTINGS
    plain = json.loads(json.dumps(settings))
    try:
        before = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        before = None
    except (OSError, ValueError):
        raise UserError("cannot be read", file=path,
                        fix="Move the run directory away, or restore the file") from None
    if before is not None and not isinstance(before, dict):
        before = {}
    changes = [] if before is None else differences(before, plain)
    if changes and not anew:
        raise UserError(f"this run was begun with other settings: {'; '.join(changes)}",
                        file=run_dir, fix="Give another -o, or add --anew to go on here (stored "
                                          "replies stay; what the change touches is asked anew)")
    if before != plain:
        run_dir.mkdir(parents=True, exist_ok=True)
        with jsonl.replacing(path, private=True) as file:
            file.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    return changes


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs, as `name: old → new`, settings that are free to change left out."""
    found = []
    for name in sorted((before.keys() | now.keys()) - FREE):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new)
        elif old != new:
            found.append(f"{name}: {_show(old)} → {_show(new)}")
    return found


def check_rows(run_dir: Path, rows: Callable[[], Iterable[Question | Reject]]) -> None:
    """Raises UserError where the run's pruned rows, which the run would replace, are not all among
    `rows`."""
    lines = pruned_before(run_dir)
    left, _ = lines.least()
    for row in rows() if left else ():
        left -= isinstance(row, Question) and lines.drop(same(row.id, row.question))
        if not left:
            break
    if not left:
        return
    _, first = lines.least()
    raise UserError(f"{left} rows of its {PRUNED} are not in this input (the first: row {first})",
                    file=run_dir,
                    fix="Give another -o, or add --anew to replace what is there")


def _show(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
