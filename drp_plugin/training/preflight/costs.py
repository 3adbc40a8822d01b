"""A training's steps, batch and GPU memory; and where it resumes."""

import math
import os
from pathlib import Path

from drp_plugin.training.preflight import framework
from drp_plugin.training.preflight.files import first_line, read_object
from drp_plugin.training.preflight.findings import Preflight
from drp_plugin.training.preflight.setchecks import compare_stored
from drp_plugin.training.preflight.weights import adapted, empty_model, misfit

GIB = 2**30
_STATE = "trainer_state.json"  # what the trainer reads first in a checkpoint


def _processes(case: Preflight, asked: int | None) -> int:
    """Number of GPUs: as asked, from Ray's workers, from the launcher's environment, else 1."""
    if asked or "ray_num_workers" in case.raw:
        return asked or int(case.training.ray_num_workers)
    names = ("NPROC_PER_NODE", "NNODES") if "NPROC_PER_NODE" in os.environ else ()
    given = (os.environ.get(name, "") for name in names)
    return math.prod(max(1, int(n)) if n.isdecimal() else 1 for n in given)  # `auto` is one too


def schedule(case: Preflight, gpus: int | None) -> None:
    """Steps and effective batch size, counted as the trainer counts them."""
    training, data, facts = case.training, case.data, case.facts
    facts["gpus"] = gpus = _processes(case, gpus)
    rows = case.rows
    assert rows is not None
    try:
        train, held_out = framework.split(case)
    except ValueError as error:
        return case.add("no_train_rows", size=data.val_size, rows=len(rows),
                        error=first_line(error))
    dropped = {rows[number]["_place"] for number in case.broken}
    fit = [i for i, place in enumerate(train["_place"]) if place not in dropped]
    count, packed = len(fit), ""
    packing = data.packing and case.finetuning.stage == "sft"
    made = framework.prepared(case, train.select(fit)) \
        if fit and (packing or case.stored is not None) else None
    if made is not None and case.stored is not None:
        compare_stored(case, made, case.stored)
    if made is not None and packing:
        count = len(made)
        packed = f" in {count} packs of up to {data.cutoff_len} tokens"
    steps = _steps(case, count, gpus)
    if steps <= 0:
        return case.add("no_steps", rows=len(fit), packed=packed, epochs=training.num_train_epochs)
    micro, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    batch = micro * accumulation * gpus
    held_out = held_out or facts.get("eval_rows", 0)
    facts |= {"train_rows": count, "eval_rows": held_out, "steps": steps, "effective_batch": batch}
    case.add("schedule", rows=len(fit), packed=packed, held_out=held_out, steps=steps,
             batch=batch, micro=micro, accumulation=accumulation, gpus=gpus,
             plural="GPUs" if gpus > 1 else "GPU (--gpus N for more)")
    if fault := framework.trainer_fault(case, steps):
        case.add("trainer_fails", fault=fault)
    warmup, every = training.get_warmup_steps(steps), training.eval_steps
    if warmup >= steps and str(training.lr_scheduler_type.value) != "constant":
        case.add("warmup", warmup=warmup, steps=steps)
    if str(getattr(training.eval_strategy, "value", "")) == "steps" and every and every > steps:
        case.add("never_evaluated", every=every, steps=steps)


def _steps(case: Preflight, rows: int, gpus: int) -> int:
    training = case.training
    if rows == 0 or training.max_steps > 0:
        return training.max_steps if rows else 0
    size = training.per_device_train_batch_size * gpus
    batches = rows // size if training.dataloader_drop_last else math.ceil(rows / size)
    return math.ceil(training.num_train_epochs
                     * math.ceil(batches / training.gradient_accumulation_steps))


def find_checkpoint(case: Preflight) -> None:
    """Where does training resume? From output_dir's last checkpoint, unless the YAML says. Before
    version 5, transformers then goes on with that run's rows a GPU."""
    import transformers
    from transformers.trainer_utils import get_last_checkpoint

    resume, output = case.training.resume_from_checkpoint, case.training.output_dir
    if not resume or not case.training.do_train:
        return
    found = get_last_checkpoint(output) if os.path.isdir(output) else None
    folder = Path(str(resume)) if resume is not True else found and Path(found)
    if not folder:
        return case.add("no_checkpoint", folder=output)
    try:
        case.resumed = folder, read_object(folder / _STATE)
    except (OSError, ValueError):
        return case.add("no_checkpoint:state", folder=folder, state=_STATE)
    before, args = case.resumed[1].get("train_batch_size"), case.training
    if before not in (None, given := args.per_device_train_batch_size) and (
            transformers.__version__ < "5" or args.auto_find_batch_size):
        case.add("resume_batch", folder=folder, before=before, given=given)
        args.per_device_train_batch_size = before


def check_resume(case: Preflight) -> None:
    """Is anything left to train, and can what is stored there be trained on?"""
    if case.resumed is None:
        return
    folder, state = case.resumed
    done, steps = int(state.get("global_step") or 0), case.facts.get("steps", 0)
    if steps and done >= steps:
        return case.add("already_trained", folder=folder, steps=steps)
    case.add("resume", folder=folder, done=done, steps=steps or "an unknown number")
    if fault := _unlike(case, folder):
        return case.add("resume_other", folder=folder, fault=fault)
    planned = state.get("max_steps")
    if steps and planned and planned != steps:
        case.add("resume_differs", folder=folder, planned=planned, steps=steps)
    elif newer := next((name for name in case.data.dataset or []
                        if (file := Path(str(case.data.dataset_dir)) / f"{name}.json").is_file()
                        and file.stat().st_mtime > (folder / _STATE).stat().st_mtime), None):
        case.add("resume_differs:newer", name=newer, folder=folder)


def _unlike(case: Preflight, folder: Path) -> str | None:
    """How a checkpoint differs from what the YAML trains: an adapter of this shape, or a model."""
    adapter = (folder / "adapter_config.json").is_file()
    if case.made is None:
        return None
    if adapter != hasattr(case.made, "peft_config"):
        return f"it holds {'an' if adapter else 'no'} adapter"
    try:
        return misfit(folder, case.made) if adapter else None
    except ValueError as error:
        return str(error)


def count_parameters(case: Preflight) -> tuple[int, int] | None:
    """Parameters in all, and the trained ones; None if they cannot be counted."""
    goes_on = case.model.adapter_name_or_path and not case.finetuning.create_new_adapter
    model = None
    try:
        model = empty_model(case.student)
        parameters = sum(p.numel() for p in model.parameters())
        layers = [name for name, _ in model.named_modules()]
        if goes_on:
            folder = Path(case.model.adapter_name_or_path[-1]) / (case.model.adapter_folder or "")
            case.made = adapted(model, folder)
            rank, kept = case.raw.get("lora_rank"), case.made.peft_config["default"].r
            if rank not in (None, kept):
                case.add("adapter_keeps", rank=rank, kept=kept, folder=folder)
        else:
            case.made = framework.make_trainable(case, model)
            _check_targets(case, layers)
    except Exception as error:  # also an architecture that this transformers does not know
        if model is not None and isinstance(error, ValueError) and not goes_on:
            case.add("not_trainable", fault=first_line(error))
        else:  # an adapter that is elsewhere has its own layers
            case.add("parameters", error=type(error).__name__)
        return None
    return parameters, sum(p.numel() for p in case.made.parameters() if p.requires_grad)


def _check_targets(case: Preflight, layers: list[str]) -> None:
    """Has the model each layer that is to be trained? PEFT leaves out the others in silence."""
    names = {*case.finetuning.lora_target, *(case.finetuning.additional_target or ())} - {"all"}
    lost = sorted(name for name in names if not any(
        f".{layer}".endswith(f".{name}") for layer in layers))
    if lost and case.finetuning.finetuning_type == "lora":
        case.add("no_layer", names=", ".join(lost))


def memory(case: Preflight, parameters: int, trained: int) -> None:
    """An estimate for one GPU: weights, adapter and its optimizer, activations, logits.

    With gradient checkpointing one tensor a layer is kept. The peak (docs/scaling.md) comes with
    the loss (logits in bf16 and fp32, and a gradient; DPO holds two more), in the current layer if
    the vocabulary is small, or in the optimizer's step if all weights are trained."""
    config, gpus, bits = case.student, case.facts["gpus"], case.model.quantization_bit
    width = 2 if case.training.bf16 else 4  # or fp16, which the parser was given as bf16
    hidden = config.hidden_size
    by_weights, by_state = {2: (1, gpus), 3: (gpus, gpus)}.get(case.zero, (1, 1))
    plain = parameters  # bitsandbytes leaves embeddings and output layer as they are
    if bits:
        plain = config.vocab_size * hidden * (1 if config.tie_word_embeddings else 2)
    weights = (plain * width + (parameters - plain) * {4: 0.52}.get(bits, 1.05)) / by_weights / GIB
    # fp32 copy and two Adam moments; LoRA's small gradients too
    lora, dpo = case.finetuning.finetuning_type == "lora", case.finetuning.stage == "dpo"
    state = trained * (16 if lora else 12) / by_state / GIB
    length = min(case.facts["tokens_max"], case.data.cutoff_len)
    tokens = case.training.per_device_train_batch_size * length * (1 + dpo)
    inner = getattr(config, "intermediate_size", 4 * hidden)
    kept = 4 if bits or case.model.upcast_layernorm else width
    logits = tokens * config.vocab_size * (width + (18 if dpo else 10)) / GIB
    activations = tokens * kept * (config.num_hidden_layers + 3) * hidden / GIB
    if case.model.disable_gradient_checkpointing:
        activations += tokens * width * (10 * hidden + 5 * inner) * config.num_hidden_layers / GIB
    else:
        activations += max(0.0, tokens * width * (13 * hidden + 6 * inner) / GIB - logits)
    if not lora:  # gradients and the optimizer's temporary tensors, which come after the logits
        state += max(0.0, trained * 6 / by_state / GIB - activations - logits)
    total = weights + state + activations + logits + 1
    case.facts |= {"parameters": parameters, "trained_parameters": trained,
                   "memory_gib": round(total, 1)}
    case.add("memory", parameters=parameters / 1e6, trained=trained / 1e6, total=total,
             length=length, weights=weights, state=state, activations=activations, logits=logits)
