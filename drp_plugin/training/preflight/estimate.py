"""How many steps, how large a batch, and about how much GPU memory."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from drp_plugin.training.preflight.findings import Preflight
from drp_plugin.training.preflight.framework import make_trainable, packs, split
from drp_plugin.training.preflight.parsed import Parsed
from drp_plugin.training.preflight.typed import first_line
from drp_plugin.training.preflight.weights import Base, empty_model

if TYPE_CHECKING:
    from datasets import Dataset

GIB = 2**30


def processes(parsed: Parsed, asked: int | None) -> int:
    """GPUs that train: as asked, as Ray's workers, as the launcher's environment, else 1."""
    if asked:
        return asked
    if "ray_num_workers" in parsed.raw:
        return int(parsed.training.ray_num_workers)
    if "NPROC_PER_NODE" in os.environ:
        return _of_launcher("NPROC_PER_NODE") * _of_launcher("NNODES")
    return 1


def _of_launcher(name: str) -> int:
    value = os.environ.get(name, "")
    return max(1, int(value)) if value.isdecimal() else 1  # the launcher also takes `gpu`, `auto`


def schedule(parsed: Parsed, rows: Dataset, broken: set[int], base: Base, gpus: int,
             report: Preflight) -> None:
    """Steps and effective batch size, counted as the trainer counts them."""
    training, data = parsed.training, parsed.data
    try:
        train, held_out = split(parsed, rows)
    except ValueError as error:
        report.error("no_train_rows", f"val_size {data.val_size:g} of {len(rows)} rows leaves "
                     f"none to train on ({first_line(error)})")
        return
    dropped = {rows[number]["_place"] for number in broken}
    fit = [i for i, place in enumerate(train["_place"]) if place not in dropped]
    count, packed = len(fit), ""
    if data.packing and fit:
        count = packs(parsed, base.template, base.used, train.select(fit))
        packed = f" in {count} packs of up to {data.cutoff_len} tokens"
    steps = _steps(parsed, count, gpus)
    micro, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    if steps <= 0:
        report.error("no_steps", f"{len(fit)} rows{packed}, num_train_epochs "
                     f"{training.num_train_epochs:g}: no step would be made, and nothing trained")
        return
    batch = micro * accumulation * gpus
    held_out = held_out or report.facts.get("eval_rows", 0)
    report.facts |= {"train_rows": count, "eval_rows": held_out, "steps": steps,
                     "effective_batch": batch, "gpus": gpus}
    plural = "GPUs" if gpus > 1 else "GPU (--gpus N for more)"
    report.info("schedule", f"{len(fit)} rows to train on{packed}, {held_out} held out; {steps} "
                f"steps of {batch} rows ({micro} x {accumulation} accumulated x {gpus} {plural})")
    every = training.eval_steps
    if str(getattr(training.eval_strategy, "value", "")) == "steps" and every and every > steps:
        report.info("never_evaluated", f"eval_steps {every:g} is more than the {steps} steps: no "
                    "evaluation before the end")


def _steps(parsed: Parsed, rows: int, gpus: int) -> int:
    training = parsed.training
    if rows == 0 or training.max_steps > 0:
        return training.max_steps if rows else 0
    size = training.per_device_train_batch_size * gpus
    batches = rows // size if training.dataloader_drop_last else math.ceil(rows / size)
    if batches == 0:
        return 0
    return math.ceil(training.num_train_epochs
                     * math.ceil(batches / training.gradient_accumulation_steps))


def count_parameters(parsed: Parsed, config: Any, report: Preflight) -> tuple[int, int] | None:
    """Parameters of the model, and those of them and of its adapter that are trained.

    What LLaMA-Factory refuses to train is a finding. None when it cannot be counted.
    """
    try:
        model = empty_model(config)
    except Exception as error:  # an architecture that this transformers does not know
        report.info("parameters", f"parameters not counted ({type(error).__name__})")
        return None
    parameters = sum(p.numel() for p in model.parameters())
    try:
        model = make_trainable(parsed, config, model)
    except Exception as error:
        goes_on = parsed.model.adapter_name_or_path and not parsed.finetuning.create_new_adapter
        if isinstance(error, ValueError) and not goes_on:  # an old adapter has its own layers
            report.error("not_trainable", "LLaMA-Factory cannot set up what is to be trained: "
                         f"{first_line(error)}")
        else:
            report.info("parameters", f"parameters not counted ({type(error).__name__})")
        return None
    return parameters, sum(p.numel() for p in model.parameters() if p.requires_grad)


def memory(parsed: Parsed, config: Any, counts: tuple[int, int], gpus: int, longest: int,
           report: Preflight) -> None:
    """An estimate for one GPU: weights, adapter and its optimizer, activations, logits.

    Gradient checkpointing is on in LLaMA-Factory by default: one tensor a layer is kept, and one
    layer is worked on at a time. With a vocabulary of 150,000 the logits weigh as much as all
    else: bf16, their fp32 copy, and both gradients.
    """
    parameters, trained = counts
    bits = parsed.model.quantization_bit
    half = parsed.training.bf16  # or fp16, which the parser was given as this
    width = 2 if half else 4
    frozen = parameters * ({4: 0.6, 8: 1.1}.get(bits, 2) if bits else width)
    lora = parsed.finetuning.finetuning_type == "lora"
    state = trained * (16 if lora else 14)  # fp32 copy, gradient and two Adam moments
    shards = {2: (1, gpus), 3: (gpus, gpus)}.get(parsed.zero, (1, 1))
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
