"""The memory estimate of `drp check` beside what training took on a GPU.

The figures are those of `python benchmarks/gpu.py` on an H200 (torch 2.11, transformers 5.5,
PEFT 0.18): GiB of tensors at the peak, weights at random in the students' true shapes.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tiny_models as tiny

from drp_plugin.training.preflight.costs import memory
from drp_plugin.training.preflight.findings import Preflight

QLORA = {"quantization_bit": 4, "upcast_layernorm": True, "disable_gradient_checkpointing": False}
BF16 = {"quantization_bit": None, "upcast_layernorm": False,
        "disable_gradient_checkpointing": False}


@pytest.mark.parametrize(("shape", "parameters", "trained", "model", "rows", "length", "peak"), [
    ("7B", 7_615_616_512, 20_185_088, BF16, 1, 1024, 16.46),
    ("7B", 7_615_616_512, 20_185_088, BF16, 1, 4096, 22.30),
    ("7B", 7_615_616_512, 20_185_088, BF16, 2, 4096, 30.08),
    ("7B", 7_615_616_512, 20_185_088, BF16, 4, 4096, 45.64),
    ("1.5B", 1_777_088_000, 9_232_384, BF16, 1, 4096, 10.80),
    ("1.5B", 1_777_088_000, 9_232_384, BF16, 4, 4096, 32.72),
    ("7B", 7_615_616_512, 20_185_088, QLORA, 1, 1024, 7.64),
    ("7B", 7_615_616_512, 20_185_088, QLORA, 1, 4096, 14.03),
    ("7B", 7_615_616_512, 20_185_088, QLORA, 2, 4096, 22.55),
])
def test_the_estimate_is_what_a_gpu_took(shape, parameters, trained, model, rows, length, peak):
    estimate = estimated(shape, parameters, trained, model, rows, length)
    assert estimate == pytest.approx(peak, rel=0.02, abs=0.1)
    kept = {**model, "disable_gradient_checkpointing": True}
    assert estimated(shape, parameters, trained, kept, rows, length) > 1.5 * peak


def estimated(shape, parameters, trained, model, rows, length) -> float:
    """Without what CUDA itself takes."""
    case = Preflight(
        "x.yaml", facts={"gpus": 1, "tokens_max": length}, model=SimpleNamespace(**model),
        data=SimpleNamespace(cutoff_len=8192),
        training=SimpleNamespace(bf16=True, per_device_train_batch_size=rows),
        finetuning=SimpleNamespace(finetuning_type="lora", stage="sft"),
        student=SimpleNamespace(**tiny.SHAPES[shape], tie_word_embeddings=False))
    memory(case, parameters, trained)
    return case.facts["memory_gib"] - 1
