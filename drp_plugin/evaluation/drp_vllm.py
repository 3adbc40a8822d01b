"""`--model drp_vllm`: the student in the real vLLM."""

from __future__ import annotations

import os
from typing import Any

from drp_plugin.evaluation.student import COMMON, StudentModel
from drp_plugin.sampling.arguments import check, flag
from drp_plugin.sampling.completions import Sampler


class DrpVLLM(StudentModel):
    """See `StudentModel`; also `lora` (an adapter's folder) and every engine argument of vLLM.

    Under torchrun each process has an engine of its own on its own GPU, and lmms-eval shares
    the questions out. Without it, `data_parallel_size=N` does the same in one command.
    """

    name = "drp_vllm"

    def _check(self, arguments: dict[str, Any]) -> None:
        from drp_plugin.sampling.vllm_engine import engine_arguments

        check(arguments, (*COMMON, "lora", *engine_arguments()), self.name)

    def build(self) -> Sampler:
        from drp_plugin.sampling.vllm_engine import VLLMSampler

        given = dict(self.arguments)
        if self._world_size > 1:
            if self.device.type == "cuda":
                os.environ["CUDA_VISIBLE_DEVICES"] = str(self.device.index)
            # in a child of its own, since this process is already in lmms-eval's process group
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
        return VLLMSampler(
            self.pretrained, lora=given.pop("lora", None),
            chat_template=given.pop("chat_template", None), revision=given.pop("revision", None),
            trust_remote_code=flag("trust_remote_code", given.pop("trust_remote_code", False)),
            **given)

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "adapter": self.arguments.get("lora")}
