"""Under which conditions completions were made, as far as lmms-eval recorded them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from drp_plugin.records import Record

#: Settings of a backend that change what is generated; the rest is speed.
_BACKEND = ("stop_at_cutoff", "stop_loops", "max_new_tokens", "max_gen_toks", "max_model_len",
            "lora_alpha_scale", "system_prompt", "temperature", "top_p", "seed")


class Protocol(Record):
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
        return ", ".join(parts)


def protocol_of(task: str, results: dict[str, Any], n: int) -> Protocol:
    """The protocol of one task from lmms-eval's results file."""
    config = _dict(_dict(results.get("configs")).get(task))
    run = _dict(results.get("config"))
    generation = _dict(config.get("generation_kwargs")) | _pairs(run.get("gen_kwargs"))
    metadata = config.get("metadata")
    metadata = _dict(metadata[0] if isinstance(metadata, list) and metadata else metadata)
    backend = _pairs(run.get("model_args"))
    total = _dict(_dict(results.get("n-samples")).get(task)).get("original")
    sampled = generation.get("do_sample")
    temperature = _number(generation.get("temperature"))
    if sampled is False or str(sampled).lower() == "false":
        temperature = 0.0
    extra = {key: str(backend[key]) for key in _BACKEND if key in backend}
    return Protocol(
        temperature=temperature,
        top_p=_number(generation.get("top_p")) if temperature else None,
        max_new_tokens=_whole(generation.get("max_new_tokens")),
        shots=_whole(config.get("num_fewshot")) or 0, repeats=_whole(config.get("repeats")) or 1,
        limited=n if isinstance(total, int) and n < total else None,
        prompt=str(metadata.get("prompt", "")), extra=extra)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pairs(value: Any) -> dict[str, Any]:
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
