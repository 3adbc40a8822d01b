"""The models for lmms-eval: `drp_hf`, `drp_vllm`, and `drp_student`, which is its default `hf`."""

import os
from functools import cached_property
from typing import Any, cast

from lmms_eval.utils import simple_parse_args_string

from drp_plugin.errors import UserError
from drp_plugin.evaluation.student import VISIBLE, StudentModel
from drp_plugin.sampling.arguments import integer
from drp_plugin.sampling.completions import PAPER_STUDENT, Sampler
from drp_plugin.sampling.engines import engine_class, resolve


class DrpHF(StudentModel):
    """In transformers: `StudentModel`'s, `peft` (LoRA), `batch_size`, `threads`, `workers`."""

    name, adapter = "drp_hf", "peft"

    def own(self) -> tuple[str, ...]:
        return ("peft", "batch_size", "threads", "workers")

    @cached_property
    def sampler(self) -> Sampler:
        # the ranks of torchrun are the workers already
        given = {"workers": 1 if self._world_size > 1 else None, **self.arguments}
        given |= {name: integer(name, given.get(name)) for name in ("threads", "workers")}
        return cast(Sampler, engine_class("hf")(
            self.pretrained, device=str(self.device), batch_size=self.batch, **given))


def visible_device(inherited: str | None, index: int) -> str:
    """The name of the GPU that this process knows by `index`, for its children. `inherited` is
    CUDA_VISIBLE_DEVICES: numbers, UUIDs or MIG names of the devices that this process was given, by
    which they are counted anew from 0. Raises UserError where it has fewer."""
    if inherited is None:
        return str(index)
    names = [name.strip() for name in inherited.split(",") if name.strip()]
    if index >= len(names):
        raise UserError(f"GPU {index} is needed, but {VISIBLE}={inherited} gives {len(names)}",
                        fix="Start as many processes as there are GPUs")
    return names[index]


class DrpVLLM(StudentModel):
    """In the real vLLM. See `StudentModel`; also `lora` (an adapter's folder) and every engine
    argument of vLLM. Under torchrun each process has an engine of its own on its own GPU, and
    lmms-eval shares the questions out; `data_parallel_size=N` does the same in one command."""

    name, adapter = "drp_vllm", "lora"

    def own(self) -> tuple[str, ...]:
        from drp_plugin.sampling.vllm_engine import engine_arguments

        return ("lora", *engine_arguments())

    @cached_property
    def sampler(self) -> Sampler:
        given = dict(self.arguments)
        if self.batch and self.batch > 1:
            given.setdefault("max_num_seqs", self.batch)
        if self.device.type == "cuda" and (self._world_size > 1
                                           or ":" in str(self.wanted_device)):
            os.environ[VISIBLE] = visible_device(self.inherited, self.device.index or 0)
        if self._world_size > 1:
            # in a child of its own, since this process is already in lmms-eval's process group
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
        return cast(Sampler, engine_class("vllm")(self.pretrained, **given))


class DrpStudent(DrpHF):
    """vLLM on a GPU, else transformers; `pretrained` is the paper's student (§4.1) by default."""

    @classmethod
    def create_from_arg_string(cls, arg_string: str,
                               additional_config: dict[str, Any] | None = None) -> StudentModel:
        names = simple_parse_args_string(arg_string)
        if "pretrained" not in names and "model" not in names:
            arg_string = ",".join(filter(None, [f"pretrained={PAPER_STUDENT}", arg_string]))
        model = DrpVLLM if resolve("auto") == "vllm" else DrpHF
        return model.create_from_arg_string(arg_string, additional_config)
