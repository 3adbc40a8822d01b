"""What `lmms-eval --tasks drp_gsm8k` takes without --model: the paper's student (§4.1)."""

from __future__ import annotations

import importlib.util
from typing import Any

from drp_plugin.evaluation.drp_hf import DrpHF
from drp_plugin.sampling.completions import PAPER_STUDENT


class DrpStudent(DrpHF):
    """Stands in for lmms-eval's default `hf`: vLLM where there is a GPU, transformers elsewhere.

    `pretrained` is DeepSeek-R1-Distill-Qwen-7B unless it is given.
    """

    @classmethod
    def create_from_arg_string(cls, arg_string: str,
                               additional_config: dict[str, Any] | None = None) -> Any:
        import torch
        from lmms_eval.utils import simple_parse_args_string

        names = simple_parse_args_string(arg_string)
        if "pretrained" not in names and "model" not in names:
            arg_string = ",".join(filter(None, [f"pretrained={PAPER_STUDENT}", arg_string]))
        model: type = DrpHF
        if torch.cuda.is_available() and importlib.util.find_spec("vllm"):
            from drp_plugin.evaluation.drp_vllm import DrpVLLM

            model = DrpVLLM
        return model.create_from_arg_string(arg_string, additional_config)  # type: ignore[attr-defined]
