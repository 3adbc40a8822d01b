"""What lmms-eval recorded of a run: under which conditions it was made, and where it comes from."""

import shlex
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from drp_plugin.records import Record

#: Settings of a backend that change what is generated; the rest is speed.
_BACKEND = ("stop_at_cutoff", "stop_loops", "max_new_tokens", "max_gen_toks", "max_model_len",
            "lora_alpha_scale", "system_prompt", "temperature", "top_p")
#: What our own tasks record and `Conditions` has as fields, or what a report decides anew.
_FIELDS = ("temperature", "top_p", "max_new_tokens", "repeats", "prompt", "cutoff", "tokenizer",
           "questions", "stop_at_cutoff", "stop_loops", "seed")


class Conditions(Record):
    """The conditions of a run on a task (§4.5), without its seeds; equal ones may share a table."""

    temperature: float | None
    top_p: float | None
    max_new_tokens: int | None
    shots: int
    repeats: int
    limited: int | None  # Documents taken where --limit cut the task short
    prompt: str  # The task's own name for its prompt, where it has several
    extra: dict[str, str] = Field(default_factory=dict)
    early: bool = False  # Generation ended at the cutoff or at loops: nothing is known beyond

    def text(self) -> str:
        """In a few words, for a table's footnote."""
        sampling = "backend's own sampling" if self.temperature is None else "greedy"
        if self.temperature:
            sampling = f"temperature {self.temperature:g}" + (
                "" if self.top_p is None else f", top_p {self.top_p:g}")
        return ", ".join(filter(None, (
            "zero-shot" if self.shots == 0 else f"{self.shots}-shot", sampling,
            f"at most {self.max_new_tokens:,} new tokens" if self.max_new_tokens else "",
            f"{self.repeats} samples a problem" if self.repeats > 1 else "",
            "" if self.limited is None else f"first {self.limited} problems only",
            f"prompt {self.prompt}" if self.prompt else "",
            *(f"{key} {value}" for key, value in sorted(self.extra.items())),
            "generation stopped early (figures without cutoff are not known)"
            if self.early else "")))


def conditions_of(task: str, results: dict[str, Any], n: int, told: dict[str, Any]) -> Conditions:
    """The protocol of one task: what our tasks recorded, else what lmms-eval's results say. The
    recorded cutoff and tokenizer are left out: a report applies its own to all runs alike."""
    config = mapping(mapping(results.get("configs")).get(task))
    run = mapping(results.get("config"))
    backend = told or pairs(run.get("model_args"))
    early = [key for key in ("stop_at_cutoff", "stop_loops")
             if str(backend.get(key, "")).lower() in ("true", "1")]
    if told:
        found = told
        extra = {key: str(value) for key, value in told.items()
                 if key not in _FIELDS and value not in (None, {}, True, "")}
        extra |= {"stopped by": " and ".join(early)} if early else {}
    else:
        generation = mapping(config.get("generation_kwargs")) | pairs(run.get("gen_kwargs"))
        metadata = config.get("metadata")
        metadata = mapping(metadata[0] if isinstance(metadata, list) and metadata else metadata)
        greedy = str(generation.get("do_sample")).lower() == "false"
        found = {**generation, "repeats": config.get("repeats"),
                 "prompt": metadata.get("prompt", ""),
                 "temperature": 0.0 if greedy else generation.get("temperature")}
        extra = {key: str(backend[key]) for key in _BACKEND if key in backend}
    total = mapping(mapping(results.get("n-samples")).get(task)).get("original")
    temperature, limit = (_number(found.get(key)) for key in ("temperature", "max_new_tokens"))
    return Conditions(
        temperature=temperature, top_p=_number(found.get("top_p")) if temperature else None,
        max_new_tokens=None if limit is None else int(limit),
        shots=int(_number(config.get("num_fewshot")) or 0),
        repeats=int(_number(found.get("repeats")) or 1),
        limited=n if isinstance(total, int) and n < total else None,
        prompt=str(found.get("prompt", "")), extra=extra, early=bool(early))


def provenance_of(results: dict[str, Any], told: dict[str, Any], date: str) -> dict[str, str]:
    """Tasks, model, adapter, seed, date, versions and command of a results file. `told` is what our
    own tasks recorded beside its samples; a model is a folder or a hub name."""
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
    return {
        "tasks": ", ".join(tasks),
        "model": str(given.get("pretrained") or given.get("model") or config.get("model")
                     or "not recorded"),
        "adapter": str(given.get("lora") or given.get("peft") or ""), "seed": seed,
        "date": str(results.get("date") or date),
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items() if value),
        "command": shlex.join(["lmms-eval", *(
            part for name, value in arguments.items() if value not in (None, "")
            for part in (f"--{name}", str(value)))])}


def _joined(value: Any) -> str:
    """A value as lmms-eval's command line has it; seeds that are all the same once."""
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
        return float(value)
    except (TypeError, ValueError):
        return None
