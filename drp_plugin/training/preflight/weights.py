"""The student by its files: tokenizer, config, and the shapes of its weights, none of them read."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.training.preflight import framework
from drp_plugin.training.preflight.files import first_line
from drp_plugin.training.preflight.findings import Parsed, Preflight, quiet
from drp_plugin.training.templates import Family


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
