"""How many steps, how large a batch, and about how much GPU memory."""

from __future__ import annotations

import math
import os
from typing import Any

from drp_plugin.training.preflight.findings import Report
from drp_plugin.training.preflight.framework import Parsed

GIB = 2**30


def processes(raw: dict[str, Any], asked: int | None) -> int:
    """GPUs that train: as asked, as Ray's workers, as the launcher's environment, else 1."""
    if asked:
        return asked
    if raw.get("ray_num_workers"):
        return int(raw["ray_num_workers"])
    if os.environ.get("NPROC_PER_NODE", "").isdigit():
        return int(os.environ["NPROC_PER_NODE"]) * int(os.environ.get("NNODES") or 1)
    return 1


def schedule(parsed: Parsed, rows: int, gpus: int, report: Report) -> None:
    """Steps and effective batch size, counted as the trainer counts them."""
    training = parsed.training
    held_out = parsed.data.val_size
    held_out = math.ceil(rows * held_out) if 0 < held_out < 1 else int(held_out)
    train_rows = rows - held_out
    micro = training.per_device_train_batch_size
    accumulation = training.gradient_accumulation_steps
    batches = math.ceil(train_rows / (micro * gpus))
    per_epoch = max(1, math.ceil(batches / accumulation))
    steps = training.max_steps if training.max_steps > 0 else \
        math.ceil(training.num_train_epochs * per_epoch)
    batch = micro * accumulation * gpus
    report.facts |= {"train_rows": train_rows, "eval_rows": held_out, "steps": steps,
                     "effective_batch": batch, "gpus": gpus}
    plural = "GPUs" if gpus > 1 else "GPU (--gpus N for more)"
    report.info("schedule", f"{train_rows} rows to train on, {held_out} held out; {steps} steps "
                f"of {batch} rows ({micro} x {accumulation} accumulated x {gpus} {plural})")
    every = training.eval_steps
    if str(getattr(training.eval_strategy, "value", "")) == "steps" and every and every > steps:
        report.info("never_evaluated", f"eval_steps {every:g} is more than the {steps} steps: no "
                    "evaluation before the end")


def count_parameters(config: Any) -> tuple[int, list[tuple[str, int, int]]]:
    """Parameters of the model, and (name, in, out) of its linear layers; no memory is used."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    linear = [(name, m.in_features, m.out_features) for name, m in model.named_modules()
              if isinstance(m, torch.nn.Linear) and "lm_head" not in name]
    return sum(p.numel() for p in model.parameters()), linear


def memory(parsed: Parsed, config: Any, gpus: int, longest: int, report: Report) -> None:
    """An estimate for one GPU: weights, adapter and its optimizer, activations, logits.

    Gradient checkpointing is on in LLaMA-Factory by default: one tensor a layer is kept, and one
    layer is worked on at a time. With a vocabulary of 150,000 the logits weigh as much as all
    else: bf16, their fp32 copy, and both gradients.
    """
    raw = parsed.raw
    try:
        parameters, linear = count_parameters(config)
    except Exception as error:  # an architecture that this transformers does not know
        report.info("memory", f"GPU memory not estimated ({type(error).__name__})")
        return
    bits = parsed.model.quantization_bit
    half = parsed.training.bf16 or bool(raw.get("fp16"))
    width = 2 if half else 4
    frozen = parameters * ({4: 0.6, 8: 1.1}.get(bits, 2) if bits else width)
    lora = parsed.finetuning.finetuning_type == "lora"
    targets = parsed.finetuning.lora_target
    every = not targets or "all" in targets
    trained = sum(parsed.finetuning.lora_rank * (i + o) for name, i, o in linear
                  if every or name.rsplit(".", 1)[-1] in targets) if lora else parameters
    state = trained * (16 if lora else 14)  # fp32 copy, gradient and two Adam moments
    shards = {"zero2": (1, gpus), "zero3": (gpus, gpus)}.get(
        next((k for k in ("zero2", "zero3") if k in str(raw.get("deepspeed", ""))), ""), (1, 1))
    length = min(longest, parsed.data.cutoff_len)
    tokens = parsed.training.per_device_train_batch_size * length
    if parsed.finetuning.stage == "dpo":
        tokens *= 2
    hidden, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", 4 * hidden)
    kept = layers * hidden * width
    working = (16 * hidden + 6 * inner) * width
    activations = tokens * (kept + working)
    logits = tokens * config.vocab_size * (2 * width + 8)
    total = frozen / shards[0] + state / shards[1] + activations + logits + 1.5 * GIB
    report.facts |= {"parameters": parameters, "trained_parameters": trained,
                     "memory_gib": round(total / GIB, 1)}
    report.info("memory", f"{parameters / 1e6:,.1f}M parameters, {trained / 1e6:,.2f}M trained; "
                f"about {total / GIB:.1f} GiB on each GPU at {length} tokens a row: weights "
                f"{frozen / shards[0] / GIB:.1f}, adapter and optimizer "
                f"{state / shards[1] / GIB:.1f}, activations {activations / GIB:.1f}, logits "
                f"{logits / GIB:.1f}, CUDA 1.5 (an estimate)")
