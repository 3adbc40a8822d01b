"""Mixing sources to a size and a ratio, reproducibly; until then their rows wait on disk."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.jsonl import dumps


@dataclass(frozen=True, slots=True)
class Fit:
    """A row that can be trained on, without its text: what is kept of each in memory."""

    order: bytes  # its place in the shuffle
    group: str
    id: str
    source: str
    row: int
    offset: int  # its place in the spool
    tokens: int | None  # its length as a training row; None where it was not counted

    @property
    def rank(self) -> tuple[str, str, str, int]:
        """Which of several equal rows stays: whatever the order of reading, the least."""
        return self.group, self.id, self.source, self.row


class Spool:
    """A nameless file beside the set that is being built; it goes with its process."""

    def __init__(self, folder: Path) -> None:
        place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
        self._file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115
        self._end, self.close = 0, self._file.close

    def put(self, example: dict[str, Any], note: Any) -> int:
        """Keep a training example and what is known about it; returns where they are."""
        self._end += self._file.write(text := f"{dumps(example)}\n{json.dumps(note)}\n".encode())
        return self._end - len(text)

    def read(self, rows: Iterable[Fit]) -> Iterator[tuple[Fit, str, Any]]:
        """Each row with its example, as one line of JSON, and what is known about it."""
        for row in rows:
            self._file.seek(row.offset)
            example = self._file.readline().decode().rstrip("\n")
            yield row, example, json.loads(self._file.readline())


def digest(*parts: str | None) -> bytes:
    """A hash of texts, the same in every Python and on every machine."""
    text = "\0".join(part if part is not None else "\1" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def parse_ratio(text: str) -> dict[str, float]:
    """`gsm8k=3,prm12k=5` as weights by data set; raises UserError when it cannot be read."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        weight = -1.0
        with contextlib.suppress(ValueError):
            weight = float(value)
        if not name or not 0 < weight < float("inf") or name in weights:
            raise UserError(f"--ratio {text!r}: {part.strip()!r} is not NAME=WEIGHT",
                            fix="For example --ratio gsm8k=3,prm12k=5")
        weights[name] = weight
    return weights


def match_groups(groups: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Each group's ratio name: `gsm8k` is for `gsm8k_train`, too. UserError where one is left."""
    found: dict[str, str] = {}
    for group in groups:
        hits = [n for n in names if group.startswith(n) and not group[len(n):][:1].isalnum()]
        if hits:  # a group's own name is the longest of all
            found[group] = max(hits, key=len)
    missing = [n for n in names if n not in found.values()]
    without = [g for g in groups if g not in found]
    if missing or without:
        what = (f"--ratio names {missing[0]!r}, which no row has" if missing
                else f"--ratio gives no weight for {without[0]!r}")
        raise UserError(what, fix=f"The rows' data sets are: {', '.join(sorted(groups))}")
    return found


def quotas(weights: Mapping[str, float], available: Mapping[str, int],
           size: int | None) -> dict[str, int]:
    """Rows to take of each name so that the ratio holds and none runs out: `size` in all where the
    rows suffice, else the most that keep the ratio. Largest remainders get the rounding."""
    total = sum(weights.values())
    most = min(available[name] * total / weight for name, weight in weights.items())
    target = int(most + 1e-9) if size is None else min(size, int(most + 1e-9))
    exact = {name: target * weight / total for name, weight in weights.items()}
    counts = {name: min(int(value + 1e-9), available[name]) for name, value in exact.items()}
    for name in sorted(exact, key=lambda n: (counts[n] - exact[n], n)):
        if sum(counts.values()) < target and counts[name] < available[name]:
            counts[name] += 1
    return counts


def mix(rows: Sequence[Fit], *, size: int | None,
        ratio: Mapping[str, float] | None) -> tuple[list[Fit], list[Fit]]:
    """Shuffle and choose; returns the chosen rows in training order, and the rest.

    Without `ratio` the sources mix as they are; the first `size` rows of the shuffle stay. The
    result is shuffled as a whole, since LLaMA-Factory's `max_samples` takes the first rows. The
    order hangs on seed and content alone: concurrent pruning writes rows as they come.
    """
    ordered = sorted(rows, key=lambda row: row.order)
    if ratio is None:
        return (ordered, []) if size is None else (ordered[:size], ordered[size:])
    names = match_groups(sorted({row.group for row in ordered}), list(ratio))
    available = {name: sum(names[row.group] == name for row in ordered) for name in ratio}
    left = quotas(ratio, available, size)
    chosen: list[Fit] = []
    rest: list[Fit] = []
    for row in ordered:
        (chosen if left[names[row.group]] > 0 else rest).append(row)
        left[names[row.group]] -= 1
    return chosen, rest
