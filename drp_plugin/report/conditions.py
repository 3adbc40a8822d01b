"""Under which conditions completions were made, as far as lmms-eval recorded them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from drp_plugin.records import Record

#: Settings of a backend that change what is generated; the rest is speed.
_BACKEND = ("stop_at_cutoff", "stop_loops", "max_new_tokens", "max_gen_toks", "max_model_len",
            "lora_alpha_scale", "system_prompt", "temperature", "top_p", "seed")


class Conditions(Record):
    """The conditions of a run on a task (§4.5); equal protocols may share a table."""

    temperature: float | None
    top_p: float | None
    max_new_tokens: int | None
    shots: int
    repeats: int
    limited: int | None
    """Documents taken where --limit cut the task short."""
    prompt: str
    """The task's own name for its prompt, where it has several."""
    extra: dict[str, str] = Field(default_factory=dict)
    early: bool = False
    """Generation ended at the cutoff or at loops: nothing is known beyond."""

    def comparable(self, other: Conditions) -> bool:
        """Whether two runs may stand in one table without a word."""
        return self == other

    def text(self) -> str:
        """In a few words, for a table's footnote."""
        parts = ["zero-shot" if self.shots == 0 else f"{self.shots}-shot"]
        if self.temperature is None:
            parts.append("backend's own sampling")
        elif self.temperature == 0:
            parts.append("greedy")
        else:
            top = f", top_p {self.top_p:g}" if self.top_p is not None else ""
            parts.append(f"temperature {self.temperature:g}{top}")
        if self.max_new_tokens:
            parts.append(f"at most {self.max_new_tokens:,} new tokens")
        if self.repeats > 1:
            parts.append(f"{self.repeats} samples a problem")
        if self.limited is not None:
            parts.append(f"first {self.limited} problems only")
        if self.prompt:
            parts.append(f"prompt {self.prompt}")
        parts += [f"{key} {value}" for key, value in sorted(self.extra.items())]
        if self.early:
            parts.append("generation stopped early (figures without cutoff are not known)")
        return ", ".join(parts)


#: What our own tasks record and `Conditions` has as fields, or what a report decides anew.
_FIELDS = ("temperature", "top_p", "max_new_tokens", "repeats", "prompt", "cutoff", "tokenizer",
           "questions", "stop_at_cutoff", "stop_loops")


def recorded_conditions(told: dict[str, Any], shots: int, limited: int | None) -> Conditions:
    """The protocol that our own tasks wrote beside every sample.

    Its cutoff and tokenizer are left out: a report applies its own to all runs alike.
    """
    extra = {key: str(value) for key, value in told.items()
             if key not in _FIELDS and value not in (None, {}, True, "")}
    early = [key for key in ("stop_at_cutoff", "stop_loops") if told.get(key)]
    return Conditions(
        temperature=_number(told.get("temperature")),
        top_p=_number(told.get("top_p")) if told.get("temperature") else None,
        max_new_tokens=_whole(told.get("max_new_tokens")), shots=shots,
        repeats=_whole(told.get("repeats")) or 1, limited=limited,
        prompt=str(told.get("prompt", "")), early=bool(early),
        extra=extra | ({"stopped by": " and ".join(early)} if early else {}))


def conditions_of(task: str, results: dict[str, Any], n: int,
                told: dict[str, Any] | None = None) -> Conditions:
    """The protocol of one task: what our tasks recorded, else what lmms-eval's results say."""
    config = _dict(_dict(results.get("configs")).get(task))
    run = _dict(results.get("config"))
    generation = _dict(config.get("generation_kwargs")) | pairs(run.get("gen_kwargs"))
    metadata = config.get("metadata")
    metadata = _dict(metadata[0] if isinstance(metadata, list) and metadata else metadata)
    backend = pairs(run.get("model_args"))
    total = _dict(_dict(results.get("n-samples")).get(task)).get("original")
    limited = n if isinstance(total, int) and n < total else None
    shots = _whole(config.get("num_fewshot")) or 0
    if told:
        return recorded_conditions(told, shots, limited)
    sampled = generation.get("do_sample")
    temperature = _number(generation.get("temperature"))
    if sampled is False or str(sampled).lower() == "false":
        temperature = 0.0
    extra = {key: str(backend[key]) for key in _BACKEND if key in backend}
    return Conditions(
        temperature=temperature,
        top_p=_number(generation.get("top_p")) if temperature else None,
        max_new_tokens=_whole(generation.get("max_new_tokens")),
        shots=shots, repeats=_whole(config.get("repeats")) or 1, limited=limited,
        early=any(str(backend.get(key, "")).lower() in ("true", "1")
                  for key in ("stop_at_cutoff", "stop_loops")),
        prompt=str(metadata.get("prompt", "")), extra=extra)


def _dict(value: Any) -> dict[str, Any]:
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


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
