"""Checks of whole data sets: are they there, mixed, and not split already?"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import correlation
from typing import TYPE_CHECKING, Any

from drp_plugin.errors import meant
from drp_plugin.training.preflight.files import first_line, read_object
from drp_plugin.training.preflight.findings import BadSet, Preflight
from drp_plugin.training.preflight.framework import kept, load_rows, mixed

if TYPE_CHECKING:
    from datasets import Dataset

_SPLIT = re.compile(r"[_.-](train|trn|training)$")
_OTHER = re.compile(r"[_.-](val|valid|validation|dev|eval|test|heldout)$")


def _registered(case: Preflight) -> dict[str, Any] | None:
    """What dataset_info.json holds; None where there is no folder. Raises OSError, ValueError."""
    folder = case.data.dataset_dir
    if not isinstance(folder, str) or folder == "ONLINE" or folder.startswith("REMOTE:"):
        return None
    return read_object(Path(folder) / "dataset_info.json")


def load_sets(case: Preflight) -> "dict[str, Dataset]":
    """Rows of the sets of `dataset` and `eval_dataset`; one that is missing is a finding."""
    folder = case.data.dataset_dir
    sets: dict[str, Dataset] = {}
    names = {name: what for what in ("dataset", "eval_dataset")  # in order, as num_samples draws
             for name in getattr(case.data, what) or []}
    try:
        info = _registered(case)
    except (OSError, ValueError) as error:
        code = "no_dataset_info" if isinstance(error, OSError) else "bad_dataset_info"
        case.add(code, folder=folder, name=[*names, "NAME"][-1], error=error)
        return {}
    for name, what in names.items():
        if info is not None and name not in info:
            case.add("unknown_dataset", what=what, name=name, folder=folder, mend=meant(
                name, info, f"It holds: {', '.join(sorted(info)) or 'nothing'}"))
            continue
        try:
            sets[name] = load_rows(case, name)
        except BadSet as error:
            case.add("bad_dataset", what=what, name=name, error=error)
    return sets


def check_sets(case: Preflight, loaded: "dict[str, Dataset]") -> None:
    """Take the rows of all sets, mixed as LLaMA-Factory mixes them; none where there are none."""
    names = case.data.dataset or []
    sets = {name: loaded[name] for name in names if name in loaded}
    if len(set(names)) < len(names):
        case.add("named_twice", name=max(names, key=names.count))
    _check_max_samples(case, sets)
    strategy, case.rows = case.data.mix_strategy, _mixed(case, sets)
    if case.rows is not None and len(sets) > 1 and strategy != "concat":
        case.add("mix", strategy=strategy, rows=len(case.rows), all=sum(map(len, sets.values())),
                 sets=len(sets), kept=len(set(case.rows["_place"])))
    _check_split(case, sets)
    _check_held_out(case, loaded)


def _groups(case: Preflight, name: str) -> list[str]:
    """Each row's source, from the provenance that `drp build` writes; empty without one."""
    path = Path(str(case.data.dataset_dir)) / f"{name}.provenance.jsonl"
    try:
        with path.open(encoding="utf-8") as lines:
            return [str(json.loads(line).get("group")) for line in lines]
    except (OSError, ValueError):
        return []


def _drift(values: Sequence[float], at: int) -> float:
    """How far the mean of the first `at` values is from that of the rest, in standard errors."""
    if min(at, len(values) - at) < 20 or len(set(values)) == 1:
        return 0.0
    return abs(correlation([i < at for i in range(len(values))], values)) * math.sqrt(len(values))


def _check_max_samples(case: Preflight, sets: "dict[str, Dataset]") -> None:
    """`max_samples` takes the first rows of each set: a set in order of its sources, or else of
    length or notation, loses some. Six standard errors are beyond chance."""
    limit = case.data.max_samples
    longer = {name: rows for name, rows in sets.items() if limit and len(rows) > limit}
    for name, rows in longer.items():
        groups = _groups(case, name)
        if len(groups) == len(rows):
            measures = [[float(groups[n] == group) for n in rows["_row"]]
                        for group in sorted(set(groups))]
        else:
            text, answers = ([_content(turns[:1]) for turns in rows[key]]
                             for key in ("_prompt", "_response"))
            measures = [[float(len(t)) for t in text], [float(len(t)) for t in answers],
                        [float("$" in t or "\\" in t) for t in text]]
        if max(_drift(values, limit) for values in measures) > 6:
            case.add("unshuffled_max_samples", limit=limit, name=name, rows=len(rows))
    if longer and len(sets) > 1:
        case.add("max_samples_each", limit=limit, sets=len(sets))


def _check_split(case: Preflight, sets: Iterable[str]) -> None:
    """A set that is already the training part of a split must not be split again."""
    info = _registered(case) if sets and case.data.val_size > 1e-6 else None
    for name in sets if info else ():
        stem = _SPLIT.sub("", name)
        others = [other for other in info or () if _OTHER.sub("", other) == stem != other]
        if stem != name and others:
            case.add("split_of_split", size=case.data.val_size, name=name, other=others[0])


def _mixed(case: Preflight, sets: "dict[str, Dataset]") -> "Dataset | None":
    try:
        return mixed(case, sets) if sets else None
    except ValueError as error:
        case.add("bad_mix", strategy=case.data.mix_strategy, error=first_line(error),
                 probabilities=case.data.interleave_probs)
        return None


def _check_held_out(case: Preflight, loaded: "dict[str, Dataset]") -> None:
    """The rows of `eval_dataset` are not trained on."""
    held = {name: loaded[name] for name in case.data.eval_dataset or [] if name in loaded}
    wanted = set(map(_key, case.rows["_prompt"])) if held and case.rows is not None else set()
    shared = Counter[str]()
    for part in [{name: rows} for name, rows in held.items()] \
            if case.data.eval_on_each_dataset else [held]:
        for row in _mixed(case, part) or ():
            if kept(case, row):
                shared[row["_place"].rpartition(":")[0]] += _key(row["_prompt"]) in wanted
                case.facts["eval_rows"] = case.facts.get("eval_rows", 0) + 1
    for name, count in shared.items():
        if count:
            case.add("eval_in_train", shared=count, name=name)


def compare_stored(case: Preflight, made: "Dataset", stored: "Dataset") -> None:
    """Are the rows in `tokenized_path` those that the YAML makes of its sets?"""
    kinds = [name for name in made.column_names if name.endswith(("ids", "labels"))]
    ours, theirs = (Counter(hash(str([row.get(kind) for kind in kinds])) for row in rows)
                    for rows in (made, stored))
    case.add("stored_rows:same" if ours == theirs else "stored_rows", made=len(made),
             folder=case.data.tokenized_path, stored=len(stored), same=(ours & theirs).total())


def _content(turns: list[dict[str, Any]]) -> str:
    return str(turns[-1]["content"]) if turns else ""


def _key(prompt: list[dict[str, Any]]) -> str:
    return "".join(_content(prompt).split())
