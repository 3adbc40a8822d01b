"""Checks of the student's files: tokenizer, template, config, and the shapes of the weights, which
are not loaded."""

import contextlib
import unicodedata
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.thinking import CLOSE, OPEN
from drp_plugin.training.preflight import framework
from drp_plugin.training.preflight.files import first_line, is_local, read_object
from drp_plugin.training.preflight.findings import Preflight, quiet

PROBE = "First, 12 + 30 = 42.\n\nWait, let me check:\n  12 + 30 = 42. So x  = 42.\n"


def load_base(case: Preflight) -> None:
    """Tokenizers and config; raises UserError when there is no tokenizer."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    name, trust = case.model.model_name_or_path, case.model.trust_remote_code
    try:
        case.used = framework.load_tokenizer(case)
        with quiet():
            case.pristine = AutoTokenizer.from_pretrained(name, trust_remote_code=trust)
    except Exception as error:
        raise UserError(
            f"the tokenizer of {name!r} cannot be loaded ({first_line(error.__cause__ or error)})",
            fix="Check model_name_or_path, or give a local copy with --model PATH") from None
    stops = None
    with quiet(), contextlib.suppress(Exception):
        case.student = AutoConfig.from_pretrained(name, trust_remote_code=trust)
        stops = case.student.eos_token_id
    with quiet(), contextlib.suppress(Exception):
        stops = GenerationConfig.from_pretrained(name).eos_token_id or stops
    case.stops = [stops] if isinstance(stops, int) else list(stops or [])


def check_model(case: Preflight) -> None:
    """Does the model load in these bits, reach cutoff_len, and fit the adapter that training
    continues?"""
    if fault := framework.quantization_fault(case):
        case.add("bad_quantization", fault=fault)
    context = getattr(case.student, "max_position_embeddings", None)
    if context and case.data.cutoff_len > context:
        case.add("cutoff_over_context", cutoff=case.data.cutoff_len, context=context)
    check_adapters(case, "train the earlier round first")


def check_tokenizer(case: Preflight, responses: list[str]) -> None:
    """Does decoding restore the text, and does the tokenizer belong to the model?"""
    def spaces(text: str) -> str:
        return "".join(c for c in text if c.isspace())

    tokenizer = case.pristine
    for text in [PROBE, *responses]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if text is PROBE and tokenizer.unk_token_id in ids:
            continue  # a small vocabulary that does not know the probe's words; rows decide
        back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if spaces(back) != spaces(unicodedata.normalize("NFC", text)):
            import transformers

            return case.add("tokenizer_loses_space", version=transformers.__version__)
    size = getattr(case.student, "vocab_size", None)
    if size is not None and (len(tokenizer) > size or size > 2 * len(tokenizer)):
        case.add("wrong_tokenizer:larger" if len(tokenizer) > size else "wrong_tokenizer",
                 tokens=len(tokenizer), size=size)


def check_template(case: Preflight) -> bool:
    """Take the template that the YAML names; False, and a finding, when it cannot be used. Are its
    control tokens the tokenizer's own, and is EOS what it was?"""
    name = case.data.template
    try:
        case.template = framework.get_template(case)
    except Exception as error:
        case.add("bad_template", fault=framework.template_fault(name)
                 or f"template {name!r}: {first_line(error)}")
        return False
    with contextlib.suppress(Exception):  # a template with more than text around a question
        case.layout = framework.layout(case.template, case.used)
    used, pristine = case.used, case.pristine
    if used.eos_token_id != pristine.eos_token_id:
        if used.eos_token_id not in case.stops:
            case.add("eos_changed", template=name, old=pristine.eos_token, new=used.eos_token)
    elif case.stops and pristine.eos_token_id not in case.stops:
        case.add("wrong_tokenizer:eos", eos=pristine.eos_token, id=pristine.eos_token_id,
                 stops=", ".join(map(str, case.stops)))
    if len(used) > len(pristine):
        case.add("tokens_added", template=name, count=len(used) - len(pristine))
    split = [mark for mark in (*(case.layout.marks() if case.layout else ()), OPEN, CLOSE)
             if len(pristine.encode(mark, add_special_tokens=False)) != 1]
    if split and split[0] not in (OPEN, CLOSE):
        case.add("wrong_tokenizer:mark", mark=split[0], template=name)
    elif split:
        case.add("think_is_text", tag=split[0])
    return True


def empty_model(config: Any) -> Any:
    """The model without its weights: it uses no memory. Raises what transformers raises."""
    import torch
    from transformers import AutoModelForCausalLM

    with quiet(), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def check_adapters(case: Preflight, mend: str) -> None:
    """Can each local adapter be read, and was it trained on this student? `mend` says how to make a
    missing one."""
    for name in filter(is_local, filter(None, case.model.adapter_name_or_path or [])):
        folder = Path(name) / (case.model.adapter_folder or "")
        try:
            check_adapter(case, folder)
        except OSError:
            case.add("missing_file:adapter", value=name, mend=mend)
        except ValueError as error:
            case.add("bad_file:adapter", file=folder / "adapter_config.json", error=error)


def check_adapter(case: Preflight, folder: Path) -> None:
    """Was a local adapter trained on this student? Its weights decide, then the name it records.
    Raises OSError or ValueError where its configuration cannot be read."""
    base = read_object(folder / "adapter_config.json").get("base_model_name_or_path")
    fault = case.student is not None and _foreign(folder, case.student)
    if fault:
        case.add("other_base:named" if base else "other_base", folder=folder, student=case.name,
                 fault=fault, base=base)
    elif base and Path(str(base)).name != Path(case.name).name:
        case.add("other_base:warning", folder=folder, student=case.name, base=base)


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
    except Exception:  # no weights yet, or of an unreadable kind
        return None
    wrong = sorted(name for name in wanted.keys() | held.keys()
                   if held.get(name, wanted.get(name)) != wanted.get(name) or name not in held)
    return f"{len(wrong)} of its {len(held)} weights do not fit, {wrong[0]} first" \
        if wrong else None
