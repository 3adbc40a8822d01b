"""Checks of the data sets as wholes: are they there, mixed, and not split already?"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drp_plugin.training.preflight.files import read_object
from drp_plugin.training.preflight.findings import Preflight
from drp_plugin.training.preflight.framework import load_rows, mixed
from drp_plugin.training.preflight.parsed import BadSet, Parsed
from drp_plugin.training.preflight.typed import first_line

if TYPE_CHECKING:
    from datasets import Dataset

_SPLIT = re.compile(r"[_.-](train|trn|training)$")
_OTHERS = ("val", "valid", "validation", "dev", "eval", "test", "heldout")


def registered(parsed: Parsed) -> dict[str, Any] | None:
    """What dataset_info.json holds; None where LLaMA-Factory will not read one from a folder."""
    folder = parsed.data.dataset_dir
    if not isinstance(folder, str) or folder == "ONLINE" or folder.startswith("REMOTE:"):
        return None
    try:
        return read_object(Path(folder) / "dataset_info.json")
    except (OSError, ValueError):
        return {}


def _check_info(parsed: Parsed, report: Preflight) -> bool:
    """Can dataset_info.json be read?"""
    folder = parsed.data.dataset_dir
    try:
        read_object(Path(folder) / "dataset_info.json")
    except OSError:
        report.error("no_dataset_info", f"{folder}/dataset_info.json is not there: "
                     f"build the set with `drp build RUN_DIR -o {folder} --name "
                     f"{(parsed.data.dataset or ['NAME'])[0]}`, or mend dataset_dir")
    except ValueError as error:
        report.error("bad_dataset_info", f"{folder}/dataset_info.json {error}: LLaMA-Factory looks "
                     "up every set in it. Build the set again with `drp build`, or mend the file")
    else:
        return True
    return False


def load_sets(parsed: Parsed, report: Preflight) -> dict[str, Dataset]:
    """Rows of every set that `dataset` names; what cannot be had becomes a finding."""
    info = registered(parsed)
    folder = parsed.data.dataset_dir
    if info == {} and not _check_info(parsed, report):
        return {}
    sets: dict[str, Dataset] = {}
    for name in parsed.data.dataset or []:
        if info is not None and name not in info:
            near = difflib.get_close_matches(name, info, n=1)
            report.error("unknown_dataset", f"data set {name!r} is not in "
                         f"{folder}/dataset_info.json" + (
                             f": did you mean {near[0]!r}?" if near
                             else f", which holds: {', '.join(sorted(info)) or 'nothing'}"))
            continue
        rows = _loaded(parsed, name, "data set", report)
        if rows is not None:
            sets[name] = rows
    return sets


def _loaded(parsed: Parsed, name: str, what: str, report: Preflight) -> Dataset | None:
    try:
        return load_rows(parsed, name)
    except BadSet as error:
        report.error("bad_dataset", f"{what} {name!r}: {error}")
        return None


def check_sets(parsed: Parsed, sets: dict[str, Dataset], report: Preflight) -> Dataset | None:
    """The rows of all sets, mixed as LLaMA-Factory mixes them; None where there are none."""
    check_max_samples(parsed, sets, report)
    rows = None
    try:
        rows = mixed(parsed, sets) if sets else None
    except ValueError as error:
        report.error("bad_mix", f"mix_strategy {parsed.data.mix_strategy} with interleave_probs "
                     f"{parsed.data.interleave_probs}: {first_line(error)}")
    if rows is not None and len(sets) > 1 and parsed.data.mix_strategy != "concat":
        kept = len(set(rows["_place"]))
        report.info("mix", f"{parsed.data.mix_strategy} makes {len(rows)} rows of the "
                    f"{sum(map(len, sets.values()))} in {len(sets)} sets: {kept} different ones")
    check_split(parsed, sets, rows or [], report)
    return rows


def _groups(parsed: Parsed, name: str) -> list[str] | None:
    """Each row's source, from the provenance that `drp build` writes; None without one."""
    path = Path(str(parsed.data.dataset_dir)) / f"{name}.provenance.jsonl"
    try:
        with path.open(encoding="utf-8") as lines:
            return [str(json.loads(line).get("group")) for line in lines]
    except (OSError, ValueError):
        return None


def _drift(values: Sequence[float], at: int) -> float:
    """How far the mean of the first `at` values is from that of the rest, in standard errors."""
    first, rest = values[:at], values[at:]
    if len(first) < 20 or len(rest) < 20:
        return 0.0
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    if variance == 0:
        return 0.0
    gap = sum(first) / len(first) - sum(rest) / len(rest)
    return abs(gap) / math.sqrt(variance * (1 / len(first) + 1 / len(rest)))


def check_max_samples(parsed: Parsed, sets: dict[str, Dataset],
                      report: Preflight) -> None:
    """`max_samples` takes the first rows of each set: a set in order of its sources loses some.

    The sources are known for sets that `drp build` made. For others the first rows are compared
    with the rest in length and in notation; rows that were shuffled differ by chance alone, and
    six standard errors are beyond chance.
    """
    limit = parsed.data.max_samples
    for name, rows in sets.items():
        if limit is None or len(rows) <= limit:
            continue
        text = [str(row["_prompt"][0]["content"]) if row["_prompt"] else "" for row in rows]
        measures = [[float(len(t)) for t in text],
                    [float("$" in t or "\\" in t) for t in text],
                    [float(len(str(r["_response"][0]["content"])) if r["_response"] else 0)
                     for r in rows]]
        groups = _groups(parsed, name)
        if groups is not None and len(groups) == len(rows):
            measures = [[float(g == group) for g in groups] for group in sorted(set(groups))]
        if max(_drift(values, limit) for values in measures) > 6:
            report.error("unshuffled_max_samples", f"max_samples {limit} takes the first rows of "
                         f"{name!r} ({len(rows)} rows), which differ from the rest: the set is "
                         "not shuffled. Build it with `drp build`, which shuffles, and --size")
    if limit is not None and len(sets) > 1 and any(len(r) > limit for r in sets.values()):
        report.warn("max_samples_each", f"max_samples {limit} counts for each of the {len(sets)} "
                    "data sets, not for the mix: build one set with `drp build --size --ratio`")


def check_split(parsed: Parsed, sets: dict[str, Dataset], rows: Iterable[dict[str, Any]],
                report: Preflight) -> None:
    """A set that is already the training part of a split must not be split again."""
    info = registered(parsed) or {}
    if parsed.data.val_size > 1e-6:
        for name in sets:
            stem = _SPLIT.sub("", name)
            others = [other for other in info if other != name and any(
                other == f"{stem}{sep}{part}" for part in _OTHERS for sep in "_.-")]
            if stem != name and others:
                report.error("split_of_split", f"val_size {parsed.data.val_size:g} splits "
                             f"{name!r}, which is the training part of a split already: set "
                             f"eval_dataset: {others[0]} and remove val_size")
    wanted = {_key(row) for row in rows} if parsed.data.eval_dataset else set()
    for name in parsed.data.eval_dataset or []:
        held = _loaded(parsed, name, "eval_dataset", report)
        held = held and held.select(range(min(parsed.data.max_samples or len(held), len(held))))
        shared = sum(_key(row) in wanted for row in held or ())
        report.facts["eval_rows"] = report.facts.get("eval_rows", 0) + len(held or ())
        if shared:
            report.error("eval_in_train", f"{shared} rows of eval_dataset {name!r} are trained on "
                         "as well: its loss will say nothing")


def _key(row: dict[str, Any]) -> str:
    return "".join(str(row["_prompt"][-1]["content"]).split()) if row["_prompt"] else ""
