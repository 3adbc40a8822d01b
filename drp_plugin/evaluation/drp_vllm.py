"""`--model drp_vllm`: the student in the real vLLM."""

from __future__ import annotations

import os
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.evaluation.student import COMMON, StudentModel
from drp_plugin.sampling.arguments import check, flag
from drp_plugin.sampling.completions import Sampler

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_device(inherited: str | None, index: int) -> str:
    """The name of the GPU that this process knows by `index`, for its children.

    `inherited` is CUDA_VISIBLE_DEVICES: numbers, UUIDs or MIG names of the devices that this
    process was given, by which they are counted anew from 0. Raises UserError where it has fewer.
    """
    if inherited is None:
        return str(index)
    names = [name.strip() for name in inherited.split(",") if name.strip()]
    if index >= len(names):
        raise UserError(f"GPU {index} is wanted, and {_VISIBLE}={inherited} gives {len(names)}",
                        fix="Start as many processes as there are GPUs")
    return names[index]


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
        if self.batch and self.batch > 1:
            given.setdefault("max_num_seqs", self.batch)
        if self.device.type == "cuda" and (self._world_size > 1
                                           or ":" in str(self.wanted_device)):
            os.environ[_VISIBLE] = visible_device(self._inherited, self.device.index or 0)
        if self._world_size > 1:
            # in a child of its own, since this process is already in lmms-eval's process group
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
        return VLLMSampler(
            self.pretrained, lora=given.pop("lora", None),
            chat_template=given.pop("chat_template", None), revision=given.pop("revision", None),
            trust_remote_code=flag("trust_remote_code", given.pop("trust_remote_code", False)),
            **given)

    def _place(self) -> None:
        super()._place()
        self._inherited = os.environ.get(_VISIBLE)

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "adapter": self.arguments.get("lora")}
