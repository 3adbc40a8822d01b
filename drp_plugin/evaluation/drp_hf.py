"""`--model drp_hf`: the student in transformers, on a CPU or one GPU."""

from __future__ import annotations

from typing import Any

from drp_plugin.evaluation.student import StudentModel
from drp_plugin.sampling.arguments import flag, integer
from drp_plugin.sampling.completions import Sampler


class DrpHF(StudentModel):
    """See `StudentModel`; also `peft` (a LoRA adapter), `batch_size`, `threads`, `workers`."""

    name = "drp_hf"
    own = ("peft", "batch_size", "threads", "workers")

    def build(self) -> Sampler:
        from drp_plugin.sampling.transformers_engine import HFSampler

        given: dict[str, Any] = self.arguments
        return HFSampler(
            self.pretrained, peft=given.get("peft"), device=str(self.device),
            dtype=str(given.get("dtype", "auto")), batch_size=self.batch,
            threads=integer("threads", given.get("threads")),
            # the ranks of torchrun are the workers already
            workers=integer("workers", given.get("workers", 1 if self._world_size > 1 else None)),
            chat_template=given.get("chat_template"), revision=given.get("revision"),
            trust_remote_code=flag("trust_remote_code", given.get("trust_remote_code", False)))

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "adapter": self.arguments.get("peft")}
