"""What lmms-eval recorded of a run: its conditions and its provenance."""

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from drp_plugin.resources import table

_TOLD = table("lmms_options.yaml")["told"]


class Conditions(NamedTuple):
    """The conditions of a run on a task (§4.5), without its seeds; equal ones may share a table."""

    text: str  # In a few words, for a table's footnote
    max_new_tokens: int | None
    early: bool  # Generation stopped at the cutoff or at loops: nothing is known beyond


def conditions_of(task: str, results: dict[str, Any], n: int, told: dict[str, Any]) -> Conditions:
    """The protocol of one task: what our tasks recorded, else what lmms-eval's results say. The
    recorded cutoff and tokenizer are left out: a report applies the same to all runs."""
    config = mapping(mapping(results.get("configs")).get(task))
    run = mapping(results.get("config"))
    backend = told or pairs(run.get("model_args"))
    early = [key for key in ("stop_at_cutoff", "stop_loops")
             if str(backend.get(key, "")).lower() in ("true", "1")]
    if told:
        found = told
        extra = {key: str(value) for key, value in told.items()
                 if key not in _TOLD["elsewhere"] and value not in (None, {}, True, "")}
        extra |= {"stopped by": " and ".join(early)} if early else {}
    else:
        generation = mapping(config.get("generation_kwargs")) | pairs(run.get("gen_kwargs"))
        metadata = config.get("metadata")
        metadata = mapping(metadata[0] if isinstance(metadata, list) and metadata else metadata)
        greedy = str(generation.get("do_sample")).lower() == "false"
        found = {**generation, "repeats": config.get("repeats"), "temperature": 0.0 if greedy else
                 generation.get("temperature"), "prompt": metadata.get("prompt", "")}
        extra = {key: str(backend[key]) for key in _TOLD["backend"] if key in backend}
    first = int(_number(told.get("offset") or run.get("offset")) or 0)
    total = mapping(mapping(results.get("n-samples")).get(task)).get("original")
    drawn = {key: _number(found.get(key)) for key in ("temperature", "top_p")}
    shots, repeats, limit = (None if value is None else int(value) for value in map(_number, (
        config.get("num_fewshot"), found.get("repeats"), found.get("max_new_tokens"))))
    sampling = "backend's own sampling" if drawn["temperature"] is None else "greedy"
    if drawn["temperature"]:
        sampling = ", ".join(f"{key} {value:g}" for key, value in drawn.items()
                             if value is not None)
    return Conditions(", ".join(filter(None, (f"{shots}-shot" if shots else "zero-shot", sampling,
        f"at most {limit:,} new tokens" if limit else "",
        f"{repeats} samples a problem" if repeats and repeats > 1 else "",
        f"problems {first + 1} to {first + n} only" if isinstance(total, int) and n < total else "",
        f"prompt {found['prompt']}" if found.get("prompt") else "",
        *(f"{key} {value}" for key, value in sorted(extra.items())),
        "generation stopped early (figures without cutoff are not known)" if early else ""))),
        limit, bool(early))


def provenance_of(results: dict[str, Any], told: dict[str, Any], date: str) -> dict[str, str]:
    """Tasks, model, adapter, seed, date, versions and command of a results file. `told` is what our
    own tasks recorded with its samples; a model is a folder or a hub name."""
    config = mapping(results.get("config"))
    asked = mapping(config.get("resolved_cli_args"))
    given = pairs(config.get("model_args"))
    tasks = tuple(mapping(results.get("n-samples")))
    seed = _joined(told.get("seed", asked.get("seed", config.get("random_seed"))))
    versions = {"lmms-eval": results.get("lmms_eval_version"), "commit": results.get("git_hash"),
                **mapping(told.get("versions"))}
    arguments = {"model": asked.get("model") or config.get("model"), "model_args": _joined(given),
                 "tasks": asked.get("tasks") or ",".join(tasks),
                 "gen_kwargs": _joined(asked.get("gen_kwargs") or config.get("gen_kwargs")),
                 "limit": _joined(asked.get("limit") or config.get("limit")), "seed": seed}
    return {"tasks": ", ".join(tasks),
        "model": str(given.get("pretrained") or given.get("model") or config.get("model")
                     or "not recorded"),
        "adapter": str(given.get("lora") or given.get("peft") or ""), "seed": seed,
        "date": str(results.get("date") or date),
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items() if value),
        "command": shlex.join(["lmms-eval", *(
            part for name, value in arguments.items() if value not in (None, "")
            for part in (f"--{name}", str(value)))])}


def _joined(value: Any) -> str:
    """A value as on lmms-eval's command line; equal seeds are given once."""
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value if len(set(value)) > 1 else value[:1]))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def pairs(value: Any) -> dict[str, Any]:
    """`a=1,b=2` as lmms-eval takes it, or the mapping that it already is."""
    if isinstance(value, dict):
        return value
    pairs = (part.partition("=") for part in str(value or "").split(","))
    return {key.strip(): text.strip() for key, equals, text in pairs if equals}


def _number(value: Any) -> float | None:
    try:
        return float(value) if abs(float(value)) < float("inf") else None
    except (TypeError, ValueError, OverflowError):
        return None
