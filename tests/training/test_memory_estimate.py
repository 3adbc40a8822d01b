"""The memory estimate of `drp check` beside what training took on a GPU.

The figures are those of `python benchmarks/gpu.py` on H200s (torch 2.11, transformers 5.5
and 4.57, PEFT 0.18): GiB of tensors at the peak, weights at random in the students' true shapes.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tiny_models as tiny

from drp_plugin.training.preflight.costs import memory
from drp_plugin.training.preflight.findings import Preflight

PLAIN = {"quantization_bit": None, "upcast_layernorm": False,
         "disable_gradient_checkpointing": False}
QLORA = {**PLAIN, "quantization_bit": 4, "upcast_layernorm": True}
KEPT = {**PLAIN, "disable_gradient_checkpointing": True}
SIZES = {"7B": 7_615_616_512, "1.5B": 1_777_088_000}
RANK_8 = {"7B": 20_185_088, "1.5B": 9_232_384}
RANK_64 = 73_859_072  # of the 1.5B student
QUERY_AND_VALUE = 1_089_536  # rank 8, in q_proj and v_proj of the 1.5B student


@pytest.mark.parametrize(("size", "model", "rows", "length", "peak"), [
    ("7B", PLAIN, 1, 1024, 16.46), ("7B", PLAIN, 1, 4096, 22.30), ("7B", PLAIN, 2, 4096, 30.08),
    ("7B", PLAIN, 4, 4096, 45.64), ("1.5B", PLAIN, 1, 4096, 10.80),
    ("1.5B", PLAIN, 4, 4096, 32.72), ("7B", QLORA, 1, 1024, 7.64), ("7B", QLORA, 1, 4096, 14.03),
    ("7B", QLORA, 2, 4096, 22.55), ("1.5B", KEPT, 1, 1024, 8.42), ("1.5B", KEPT, 1, 2048, 13.41),
    ("1.5B", KEPT, 2, 2048, 23.16), ("1.5B", KEPT, 2, 4096, 43.69),
])
def test_the_estimate_is_what_lora_took(size, model, rows, length, peak):
    assert estimated(size, RANK_8[size], rows, length, model) == pytest.approx(
        peak, rel=0.02, abs=0.1)


@pytest.mark.parametrize(("trained", "rows", "length", "finetuning", "peak"), [
    (SIZES["1.5B"], 1, 1024, {"finetuning_type": "full"}, 33.21),
    (SIZES["1.5B"], 2, 4096, {"finetuning_type": "full"}, 38.22),
    (RANK_64, 1, 1024, {}, 6.21), (RANK_64, 2, 4096, {}, 19.02),
    (QUERY_AND_VALUE, 1, 4096, {"stage": "dpo"}, 27.31),  # a pair is two rows
])
def test_the_estimate_is_what_other_trainings_took(trained, rows, length, finetuning, peak):
    assert estimated("1.5B", trained, rows, length, **finetuning) == pytest.approx(
        peak, rel=0.02, abs=0.1)


def estimated(size, trained, rows, length, model=PLAIN, *, finetuning_type="lora",
              stage="sft") -> float:
    """Without what CUDA itself takes."""
    case = Preflight(
        "x.yaml", facts={"gpus": 1, "tokens_max": length}, model=SimpleNamespace(**model),
        data=SimpleNamespace(cutoff_len=8192),
        training=SimpleNamespace(bf16=True, per_device_train_batch_size=rows),
        finetuning=SimpleNamespace(finetuning_type=finetuning_type, stage=stage),
        student=SimpleNamespace(**tiny.SHAPES[size], tie_word_embeddings=False))
    memory(case, SIZES[size], trained)
    return case.facts["memory_gib"] - 1
