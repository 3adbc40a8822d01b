"""Mixing sources to a size and a ratio, reproducibly; until then their rows wait on disk."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.jsonl import dumps, encodable
from drp_plugin.resources import table
from drp_plugin.seen import Kept, temporary
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


_SQL = table("spool.yaml")


class Spool:
    """The rows that can be trained on, and those that are left out."""

    def __init__(self) -> None:
        self._base, self._texts = temporary(_SQL["tables"]), Kept[tuple[str, Any]]()

    def put(self, fit: Fit, example: dict[str, Any], note: Any) -> None:
        self._insert("fit", fit._replace(offset=len(self._texts)))
        self._texts.append((dumps(example), note))

    def drop(self, row: Candidate | Dropped, reason: Why, detail: str) -> None:
        """Leave a row out."""
        self._insert("dropped", (row.source, row.row, row.id, reason, detail))

    def _insert(self, name: str, values: Sequence[Any]) -> None:
        self._base.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values))})", [
            encodable(value) if isinstance(value, str) else value for value in values])

    def mix(self, size: int | None, ratio: Mapping[str, float] | None) -> int | None:
        """Choose the rows of the set; returns how many they are, None without any to choose from.

        Without `ratio` the sources mix as they are; the first `size` rows of the shuffle stay. All
        are shuffled, since LLaMA-Factory's `max_samples` takes the first. The order depends only on
        seed and content, because concurrent pruning writes rows as they come."""
        self._base.executescript(_SQL["sort"])
        groups, available = dict(self._base.execute(_SQL["groups"])), Counter[str]()
        if not groups:
            return None
        names = dict.fromkeys(groups, "") if ratio is None else \
            match_groups(sorted(groups), list(ratio))
        for group, rows in groups.items():
            available[names[group]] += rows
        left = quotas(ratio or {"": 1.0}, available, size)
        for group, name in names.items():
            self._insert("quotas", (group, name, left[name]))
        self._base.executescript(_SQL["choose"])
        return sum(left.values())

    def read(self) -> Iterator[tuple[Fit, str, Any]]:
        """The set's rows in training order, each with its example as JSON, and its note."""
        for *row, _ in self._base.execute(_SQL["chosen"]):
            fit = Fit(*row)
            yield fit, *self._texts[fit.offset]

    def dropped(self) -> Iterator[Dropped]:
        """The rows that were left out, in their order."""
        for source, row, name, reason, detail in self._base.execute(_SQL["dropped"]):
            yield Dropped(source, row, name, Why(reason), detail)

    def reasons(self) -> dict[Why, tuple[int, Dropped]]:
        """Why rows were left out, the most frequent first: how many, and the first of them."""
        counts, first = Counter[Why](), dict[Why, Dropped]()
        for dropped in self.dropped():
            counts[dropped.reason] += 1
            first.setdefault(dropped.reason, dropped)
        return {reason: (n, first[reason]) for reason, n in counts.most_common()}


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
