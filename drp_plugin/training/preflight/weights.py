"""The student by its files, and what its training takes: steps, batch, GPU memory.

The files are tokenizer, config, and the shapes of the weights, none of which are read.
"""

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drp_plugin.errors import UserError
from drp_plugin.training.preflight import framework
from drp_plugin.training.preflight.files import first_line
from drp_plugin.training.preflight.findings import Parsed, Preflight, quiet
from drp_plugin.training.templates import Family

if TYPE_CHECKING:
    from datasets import Dataset

GIB = 2**30


@dataclass
class Base:
    """The student that a YAML names."""

    used: Any  # its tokenizer as training loads and fixes it
    pristine: Any  # the same untouched, as inference loads it
    config: Any  # None where it cannot be had
    stops: list[int]  # the ids that stop its generation
    template: Any = None  # LLaMA-Factory's, once it is known to fit
    layout: Family | None = None  # that template as text


def load_base(parsed: Parsed) -> Base:
    """Tokenizers and config; raises UserError when there is no tokenizer."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    name, trust = parsed.model.model_name_or_path, parsed.model.trust_remote_code
    try:
        used = framework.load_tokenizer(parsed)
        with quiet():
            pristine = AutoTokenizer.from_pretrained(name, trust_remote_code=trust)
    except Exception as error:
        raise UserError(
            f"the tokenizer of {name!r} cannot be loaded ({first_line(error.__cause__ or error)})",
            fix="Check model_name_or_path, or give a local copy with --model PATH") from None
    config, stops = None, None
    with quiet(), contextlib.suppress(Exception):
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust)
        stops = config.eos_token_id
    with quiet(), contextlib.suppress(Exception):
        stops = GenerationConfig.from_pretrained(name).eos_token_id or stops
    return Base(used, pristine, config, [stops] if isinstance(stops, int) else list(stops or []))


def load_template(parsed: Parsed, base: Base, report: Preflight) -> bool:
    """Take the template that the YAML names; False, and a finding, when it cannot be used."""
    try:
        base.template = framework.get_template(parsed, base.used)
    except Exception as error:
        report.add("bad_template", fault=framework.template_fault(parsed.data.template)
                   or f"template {parsed.data.template!r}: {first_line(error)}")
        return False
    with contextlib.suppress(Exception):  # a template that is more than text around a question
        base.layout = framework.layout(base.template, base.used)
    return True


def empty_model(config: Any) -> Any:
    """The model without its weights: no memory is used. Raises what transformers raises."""
    import torch
    from transformers import AutoModelForCausalLM

    with quiet(), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def check_adapter(folder: Path, settings: dict[str, Any], student: str, config: Any,
                  report: Preflight) -> None:
    """Was a local adapter trained on this student? Its weights decide, then the name it records."""
    base = settings.get("base_model_name_or_path")
    fault = config is not None and _foreign(folder, config)
    if fault:
        report.add("other_base:named" if base else "other_base", folder=folder, student=student,
                   fault=fault, base=base)
    elif base and Path(str(base)).name != Path(student).name:
        report.add("other_base:warning", folder=folder, student=student, base=base)


def _foreign(folder: Path, config: Any) -> str | None:
    """How an adapter's weights differ from those that PEFT would make for this model."""
    import torch
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
    from safetensors import safe_open

    try:
        with safe_open(folder / "adapter_model.safetensors", "pt") as file:
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        with quiet(), torch.device("meta"):
            model = empty_model(config)
            try:
                made = get_peft_model(model, PeftConfig.from_pretrained(str(folder)))
            except ValueError as error:
                return first_line(error)
            wanted = {name: tuple(value.shape) for name, value in get_peft_model_state_dict(
                made, save_embedding_layers=False).items()}
    except Exception:  # no weights yet, or of a kind that cannot be looked into
        return None
    wrong = sorted(name for name in wanted.keys() | held.keys()
                   if held.get(name, wanted.get(name)) != wanted.get(name) or name not in held)
    return f"{len(wrong)} of its {len(held)} weights do not fit, {wrong[0]} first" \
        if wrong else None


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
        train, held_out = framework.split(parsed, rows)
    except ValueError as error:
        return report.add("no_train_rows", size=data.val_size, rows=len(rows),
                          error=first_line(error))
    dropped = {rows[number]["_place"] for number in broken}
    fit = [i for i, place in enumerate(train["_place"]) if place not in dropped]
    count, packed = len(fit), ""
    if data.packing and fit:
        count = framework.packs(parsed, base.template, base.used, train.select(fit))
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
        model = framework.make_trainable(parsed, config, model)
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
