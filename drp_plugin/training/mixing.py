"""Mixing sources to a size and a ratio, reproducibly; until then their rows wait on disk."""

import contextlib
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.jsonl import dumps, encodable
from drp_plugin.resources import table
from drp_plugin.seen import temporary
from drp_plugin.training.sources import Candidate, Dropped, Why


class Fit(NamedTuple):
    """A row that can be trained on, without its text."""

    trained: bytes  # the same for equal rows
    order: bytes  # its place in the shuffle
    group: str
    id: str
    source: str
    row: int
    tokens: int | None  # its length as a training row; None if not counted
    offset: int = 0  # its place in the spool


_TABLES, _SORT, _DROPPED = table("spool.yaml").values()


class Spool:
    """The rows that can be trained on: their texts in a nameless file beside the set that is being
    built, the rest, and the rows that are left out, in a temporary database."""

    def __init__(self, folder: Path) -> None:
        place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
        self._file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115
        self._end, self.close = 0, self._file.close
        self._base = temporary(_TABLES)

    def put(self, fit: Fit, example: dict[str, Any], note: Any) -> None:
        """Keep a row, its training example and what is known about it."""
        self._insert("fit", fit._replace(offset=self._end))
        self._end += self._file.write(f"{dumps(example)}\n{json.dumps(note)}\n".encode())

    def drop(self, row: Candidate | Dropped | Fit, reason: Why, detail: str = "") -> None:
        """Leave a row out."""
        self._insert("dropped", (row.source, row.row, row.id, reason, detail))

    def _insert(self, name: str, values: Sequence[Any]) -> None:
        self._base.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values))})", [
            encodable(value) if isinstance(value, str) else value for value in values])

    def dropped(self) -> Iterator[Dropped]:
        """The rows that were left out, in their order."""
        for source, row, name, reason, detail in self._base.execute(_DROPPED):
            yield Dropped(source, row, name, Why(reason), detail)

    def sort(self) -> Iterator[tuple[Fit, str]]:
        """Sort the rows, once; yields those that equal another one, with its place."""
        self._base.execute(_SORT)
        for *fit, _, line, source in self._base.execute("SELECT * FROM sorted WHERE turn > 1"):
            yield Fit(*fit), f"row {line} of {source}"

    def rows(self) -> Iterator[Fit]:
        """The others, in the order of the shuffle."""
        found = self._base.execute("SELECT * FROM sorted WHERE turn = 1 ORDER BY rowid")
        return (Fit(*row[:-3]) for row in found)

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
    """`gsm8k=3,prm12k=5` as weights by data set; raises UserError for any other text."""
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
    """Each group's ratio name: `gsm8k` is for `gsm8k_train`, too. UserError if one is left."""
    found: dict[str, str] = {}
    for group in groups:
        hits = [n for n in names if group.startswith(n) and not group[len(n):][:1].isalnum()]
        if hits:  # a group's own name is the longest match
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


class Mix:
    """The rows of the set, in training order; they are chosen anew each time.

    Without `ratio` the sources mix as they are; the first `size` rows of the shuffle stay. The
    result is shuffled as a whole, since LLaMA-Factory's `max_samples` takes the first rows. The
    order depends on seed and content only: concurrent pruning writes rows as they come.
    """

    def __init__(self, spool: Spool, size: int | None, ratio: Mapping[str, float] | None) -> None:
        groups, available = Counter(row.group for row in spool.rows()), Counter[str]()
        self._spool, self._names = spool, dict.fromkeys(groups, "") if ratio is None \
            else match_groups(sorted(groups), list(ratio))
        for group, rows in groups.items():
            available[self._names[group]] += rows
        self._left = quotas(ratio or {"": 1.0}, available, size)

    def __len__(self) -> int:
        return sum(self._left.values())

    def __iter__(self) -> Iterator[Fit]:
        return (row for row, taken in self.choices() if taken)

    def choices(self) -> Iterator[tuple[Fit, bool]]:
        """Every row, and whether it is in the set."""
        left = dict(self._left)
        for row in self._spool.rows():
            left[self._names[row.group]] -= 1
            yield row, left[self._names[row.group]] >= 0
