"""How many steps, how large a batch, and about how much GPU memory."""

import math
import os
from typing import TYPE_CHECKING, Any

from drp_plugin.training.preflight.files import first_line
from drp_plugin.training.preflight.findings import Parsed, Preflight
from drp_plugin.training.preflight.framework import make_trainable, packs, split
from drp_plugin.training.preflight.weights import Base, empty_model

if TYPE_CHECKING:
    from datasets import Dataset

GIB = 2**30


def processes(parsed: Parsed, asked: int | None) -> int:
    """GPUs that train: as asked, as Ray's workers, as the launcher's environment, else 1."""
    def of_launcher(name: str) -> int:
        value = os.environ.get(name, "")
        return max(1, int(value)) if value.isdecimal() else 1  # also takes `gpu` and `auto`

    if asked:
        return asked
    if "ray_num_workers" in parsed.raw:
        return int(parsed.training.ray_num_workers)
    several = "NPROC_PER_NODE" in os.environ
    return of_launcher("NPROC_PER_NODE") * of_launcher("NNODES") if several else 1


def schedule(parsed: Parsed, rows: "Dataset", broken: set[int], base: Base, gpus: int,
             report: Preflight) -> None:
    """Steps and effective batch size, counted as the trainer counts them."""
    training, data = parsed.training, parsed.data
    try:
        train, held_out = split(parsed, rows)
    except ValueError as error:
        return report.add("no_train_rows", size=data.val_size, rows=len(rows),
                          error=first_line(error))
    dropped = {rows[number]["_place"] for number in broken}
    fit = [i for i, place in enumerate(train["_place"]) if place not in dropped]
    count, packed = len(fit), ""
    if data.packing and fit:
        count = packs(parsed, base.template, base.used, train.select(fit))
        packed = f" in {count} packs of up to {data.cutoff_len} tokens"
    steps = _steps(parsed, count, gpus)
    if steps <= 0:
        return report.add("no_steps", rows=len(fit), packed=packed,
                          epochs=training.num_train_epochs)
    micro, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    batch = micro * accumulation * gpus
    held_out = held_out or report.facts.get("eval_rows", 0)
    report.facts |= {"train_rows": count, "eval_rows": held_out, "steps": steps,
                     "effective_batch": batch, "gpus": gpus}
    report.add("schedule", rows=len(fit), packed=packed, held_out=held_out, steps=steps,
               batch=batch, micro=micro, accumulation=accumulation, gpus=gpus,
               plural="GPUs" if gpus > 1 else "GPU (--gpus N for more)")
    every = training.eval_steps
    if str(getattr(training.eval_strategy, "value", "")) == "steps" and every and every > steps:
        report.add("never_evaluated", every=every, steps=steps)


def _steps(parsed: Parsed, rows: int, gpus: int) -> int:
    training = parsed.training
    if rows == 0 or training.max_steps > 0:
        return training.max_steps if rows else 0
    size = training.per_device_train_batch_size * gpus
    batches = rows // size if training.dataloader_drop_last else math.ceil(rows / size)
    return math.ceil(training.num_train_epochs
                     * math.ceil(batches / training.gradient_accumulation_steps))


def count_parameters(parsed: Parsed, config: Any, report: Preflight) -> tuple[int, int] | None:
    """Parameters in all, and those that are trained (adapter's, too); None: not to be counted."""
    model = None
    try:
        model = empty_model(config)
        parameters = sum(p.numel() for p in model.parameters())
        model = make_trainable(parsed, config, model)
    except Exception as error:  # also an architecture that this transformers does not know
        goes_on = parsed.model.adapter_name_or_path and not parsed.finetuning.create_new_adapter
        if model is not None and isinstance(error, ValueError) and not goes_on:
            report.add("not_trainable", fault=first_line(error))
        else:  # an old adapter has its own layers
            report.add("parameters", error=type(error).__name__)
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
    width = 2 if parsed.training.bf16 else 4  # or fp16, which the parser was given as bf16
    by_weights, by_state = {2: (1, gpus), 3: (gpus, gpus)}.get(parsed.zero, (1, 1))
    weights = parameters * ({4: 0.6, 8: 1.1}.get(bits, 2) if bits else width) / by_weights / GIB
    # fp32 copy, gradient and two Adam moments
    lora = parsed.finetuning.finetuning_type == "lora"
    state = trained * (16 if lora else 14) / by_state / GIB
    length = min(longest, parsed.data.cutoff_len)
    tokens = parsed.training.per_device_train_batch_size * length
    if parsed.finetuning.stage == "dpo":
        tokens *= 2
    hidden = config.hidden_size
    inner = getattr(config, "intermediate_size", 4 * hidden)
    activations = tokens * width / GIB * (
        config.num_hidden_layers * hidden + 16 * hidden + 6 * inner)
    logits = tokens * config.vocab_size * (2 * width + 8) / GIB
    total = weights + state + activations + logits + 1.5
    report.facts |= {"parameters": parameters, "trained_parameters": trained,
                     "memory_gib": round(total, 1)}
    report.add("memory", parameters=parameters / 1e6, trained=trained / 1e6, total=total,
               length=length, weights=weights, state=state, activations=activations, logits=logits)
