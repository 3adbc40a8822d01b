"""What a task, or --gen_kwargs, asks of the generation: checked, and never silently left aside."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.sampling.arguments import check, flag, integer, number

READ = ("do_sample", "max_gen_toks", "max_new_tokens", "seed", "temperature", "top_k", "top_p",
        "until")
#: Keys of lmms-eval's own tasks that are for images or for its loops, and say nothing to a text.
_IDLE = ("downsample_ratio", "image_aspect_ratio", "max_agentic_steps", "max_pixels", "min_pixels",
         "patch_size", "skip_special_tokens", "visual_cot")
#: Keys that change nothing with this value, which lmms-eval's own tasks write out; else refused.
_NEUTRAL = {"num_beams": 1, "repetition_penalty": 1, "system_prompt": ""}
_DEFAULT_NEW_TOKENS = 1024


class Generation(NamedTuple):
    """How completions are drawn."""

    temperature: float  # 0 is greedy
    top_p: float
    top_k: int | None
    max_new_tokens: int
    seed: int | None  # None where the model's own holds

    @classmethod
    def read(cls, given: Mapping[str, Any], model: str) -> "Generation":
        """Read lmms-eval's generation kwargs. Raises UserError for a key that `model` does not
        have, a value that is not what its key wants, and a temperature that greedy decoding would
        leave aside."""
        said = {key: value for key, value in given.items() if key not in _IDLE and not (
            key in _NEUTRAL and value in (None, "None", _NEUTRAL[key]))}
        check(said, READ, f"generation_kwargs (--gen_kwargs) of {model}")
        stops(given.get("until"))
        temperature = number("temperature", given.get("temperature")) or 0.0
        top_p = number("top_p", given.get("top_p"), most=1)
        if temperature and top_p == 0:
            raise UserError("top_p=0 keeps no token to draw from",
                            fix="For greedy decoding give temperature=0")
        # -1 and 0 are how engines write that there is none
        top_k = integer("top_k", given.get("top_k") or None, least=-1)
        if not flag("do_sample", given.get("do_sample", True)) and temperature:
            raise UserError(
                f"temperature={temperature:g} has no effect with do_sample=False, which the task "
                "or --gen_kwargs sets", fix="Add do_sample=True to --gen_kwargs to sample, or "
                "temperature=0 for greedy decoding")
        limits = [integer(name, given.get(name)) for name in ("max_new_tokens", "max_gen_toks")]
        return cls(
            temperature=temperature, top_p=1.0 if not temperature or top_p is None else top_p,
            top_k=top_k if temperature and (top_k or 0) > 0 else None,
            max_new_tokens=min((n for n in limits if n is not None), default=_DEFAULT_NEW_TOKENS),
            seed=integer("seed", given.get("seed"), least=0))


def stops(until: Any) -> list[str]:
    """The texts that completions are cut at, as a YAML or --gen_kwargs has them. That option hands
    over text alone: a list is read as JSON, and must be a whole one. Raises UserError for what
    cannot be met as it stands."""
    found = [until] if isinstance(until, str) else until
    if isinstance(until, str):
        listed = until.lstrip().startswith("[")
        with contextlib.suppress(ValueError):
            found = json.loads(until) if listed else found
        if found == [until] and (listed or "\\n" in until):
            raise UserError(f"until={until} is neither text nor a list of texts in JSON",
                            fix='Write until=["\\n\\n"]; --gen_kwargs takes no comma within, and '
                            "a task's YAML takes several")
    found = [] if found is None else found
    if not isinstance(found, list | tuple) or not all(isinstance(stop, str) for stop in found):
        raise UserError(f"until={until} must be text or a list of texts")
    return [stop for stop in found if stop]


def cut_at(text: str, found: list[str]) -> str:
    """Text up to the first of the task's stop strings; ours have none."""
    for stop in found:
        text = text.partition(stop)[0]
    return text
