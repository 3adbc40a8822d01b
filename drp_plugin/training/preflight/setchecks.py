"""Checks of the data sets as wholes: are they there, mixed, and not split already?"""

import difflib
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drp_plugin.training.preflight.files import first_line, read_object
from drp_plugin.training.preflight.findings import BadSet, Parsed, Preflight
from drp_plugin.training.preflight.framework import load_rows, mixed

if TYPE_CHECKING:
    from datasets import Dataset

_SPLIT = re.compile(r"[_.-](train|trn|training)$")
_OTHERS = ("val", "valid", "validation", "dev", "eval", "test", "heldout")


def _registered(parsed: Parsed) -> dict[str, Any] | None:
    """What dataset_info.json holds; None where there is no folder. Raises OSError, ValueError."""
    folder = parsed.data.dataset_dir
    if not isinstance(folder, str) or folder == "ONLINE" or folder.startswith("REMOTE:"):
        return None
    return read_object(Path(folder) / "dataset_info.json")


def load_sets(parsed: Parsed, report: Preflight) -> "dict[str, Dataset]":
    """Rows of every set that `dataset` names; what cannot be had becomes a finding."""
    folder, names = parsed.data.dataset_dir, parsed.data.dataset or []
    try:
        info = _registered(parsed)
    except (OSError, ValueError) as error:
        code = "no_dataset_info" if isinstance(error, OSError) else "bad_dataset_info"
        report.add(code, folder=folder, name=[*names, "NAME"][0], error=error)
        return {}
    sets: dict[str, Dataset] = {}
    for name in names:
        if info is not None and name not in info:
            near = difflib.get_close_matches(name, info, n=1)
            report.add("unknown_dataset:near" if near else "unknown_dataset", name=name,
                       folder=folder, near="".join(near),
                       known=", ".join(sorted(info)) or "nothing")
        elif (rows := _loaded(parsed, name, "data set", report)) is not None:
            sets[name] = rows
    return sets


def _loaded(parsed: Parsed, name: str, what: str, report: Preflight) -> "Dataset | None":
    try:
        return load_rows(parsed, name)
    except BadSet as error:
        report.add("bad_dataset", what=what, name=name, error=error)
        return None


def check_sets(parsed: Parsed, sets: "dict[str, Dataset]", report: Preflight) -> "Dataset | None":
    """The rows of all sets, mixed as LLaMA-Factory mixes them; None where there are none."""
    _check_max_samples(parsed, sets, report)
    rows, strategy = None, parsed.data.mix_strategy
    try:
        rows = mixed(parsed, sets) if sets else None
    except ValueError as error:
        report.add("bad_mix", strategy=strategy, probabilities=parsed.data.interleave_probs,
                   error=first_line(error))
    if rows is not None and len(sets) > 1 and strategy != "concat":
        report.add("mix", strategy=strategy, rows=len(rows), all=sum(map(len, sets.values())),
                   sets=len(sets), kept=len(set(rows["_place"])))
    _check_split(parsed, sets, rows or [], report)
    return rows


def _groups(parsed: Parsed, name: str) -> list[str]:
    """Each row's source, from the provenance that `drp build` writes; empty without one."""
    path = Path(str(parsed.data.dataset_dir)) / f"{name}.provenance.jsonl"
    try:
        with path.open(encoding="utf-8") as lines:
            return [str(json.loads(line).get("group")) for line in lines]
    except (OSError, ValueError):
        return []


def _drift(values: Sequence[float], at: int) -> float:
    """How far the mean of the first `at` values is from that of the rest, in standard errors."""
    rest = len(values) - at
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    if min(at, rest) < 20 or variance == 0:
        return 0.0
    gap = sum(values[:at]) / at - sum(values[at:]) / rest
    return abs(gap) / math.sqrt(variance * (1 / at + 1 / rest))


def _check_max_samples(parsed: Parsed, sets: "dict[str, Dataset]", report: Preflight) -> None:
    """`max_samples` takes the first rows of each set: a set in order of its sources loses some.

    The sources are known for sets that `drp build` made. For others the first rows are compared
    with the rest in length and in notation; rows that were shuffled differ by chance alone, and
    six standard errors are beyond chance.
    """
    limit = parsed.data.max_samples
    longer = {name: rows for name, rows in sets.items() if limit and len(rows) > limit}
    for name, rows in longer.items():
        groups = _groups(parsed, name)
        if len(groups) == len(rows):
            measures = [[float(g == group) for g in groups] for group in sorted(set(groups))]
        else:
            text, answers = ([str(row[key][0]["content"]) if row[key] else "" for row in rows]
                             for key in ("_prompt", "_response"))
            measures = [[float(len(t)) for t in text], [float(len(t)) for t in answers],
                        [float("$" in t or "\\" in t) for t in text]]
        if max(_drift(values, limit) for values in measures) > 6:
            report.add("unshuffled_max_samples", limit=limit, name=name, rows=len(rows))
    if longer and len(sets) > 1:
        report.add("max_samples_each", limit=limit, sets=len(sets))


def _check_split(parsed: Parsed, sets: "dict[str, Dataset]", rows: Iterable[dict[str, Any]],
                 report: Preflight) -> None:
    """A set that is already the training part of a split must not be split again."""
    info = _registered(parsed) if sets and parsed.data.val_size > 1e-6 else None
    for name in sets if info else ():
        stem = _SPLIT.sub("", name)
        others = [other for other in info or () if other != name and any(
            other == f"{stem}{sep}{part}" for part in _OTHERS for sep in "_.-")]
        if stem != name and others:
            report.add("split_of_split", size=parsed.data.val_size, name=name, other=others[0])
    wanted = {_key(row) for row in rows} if parsed.data.eval_dataset else set()
    for name in parsed.data.eval_dataset or []:
        held = _loaded(parsed, name, "eval_dataset", report)
        held = held and held.select(range(min(parsed.data.max_samples or len(held), len(held))))
        shared = sum(_key(row) in wanted for row in held or ())
        report.facts["eval_rows"] = report.facts.get("eval_rows", 0) + len(held or ())
        if shared:
            report.add("eval_in_train", shared=shared, name=name)


def _key(row: dict[str, Any]) -> str:
    return "".join(str(row["_prompt"][-1]["content"]).split()) if row["_prompt"] else ""
