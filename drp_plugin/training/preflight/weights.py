"""Checks of the student's files: tokenizer, template, config, shapes of unloaded weights."""

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
_ADAPTER = "adapter_config.json"


def load_base(case: Preflight) -> None:
    """Tokenizers and config; raises UserError when there is no tokenizer."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    name, trust = case.model.model_name_or_path, case.model.trust_remote_code
    if (Path(name) / _ADAPTER).is_file() and not (Path(name) / "config.json").is_file():
        raise UserError(f"model_name_or_path: {name} is an adapter", fix="Name it under "
                        "adapter_name_or_path, and its base under model_name_or_path")
    try:
        case.used = framework.load_tokenizer(case)
        with quiet():
            case.pristine = AutoTokenizer.from_pretrained(name, trust_remote_code=trust)
    except Exception as error:
        raise UserError(
            f"the tokenizer of {name!r} cannot be loaded ({first_line(error.__cause__ or error)})",
            fix="Check model_name_or_path, or give a local copy with --model PATH") from None
    stops = None
    try:
        with quiet():
            case.student = AutoConfig.from_pretrained(name, trust_remote_code=trust)
        stops = case.student.eos_token_id
    except Exception as error:
        case.add("no_config:local" if is_local(name) else "no_config", fault=first_line(error))
    with quiet(), contextlib.suppress(Exception):
        stops = GenerationConfig.from_pretrained(name).eos_token_id or stops
    case.stops = [stops] if isinstance(stops, int) else list(stops or [])


def check_model(case: Preflight) -> None:
    """Does the model load in these bits, reach cutoff_len, and fit the adapter that training
    continues? Are its weights there, and can they be read? Are the YAML's other models?"""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if fault := framework.quantization_fault(case):
        case.add("bad_quantization", fault=fault)
    context = getattr(case.student, "max_position_embeddings", None)
    if context and case.data.cutoff_len > context and not case.model.rope_scaling:
        case.add("cutoff_over_context", cutoff=case.data.cutoff_len, context=context)
    check_adapters(case, "train the earlier round first")
    other = case.finetuning.ref_model
    if other and is_local(other) and not Path(other).is_dir():
        case.add("missing_file", name="ref_model", value=other)
    if case.lent or case.model.train_from_scratch or not (case.student and is_local(case.name)):
        return
    try:
        with quiet():  # without a device only the headers of the weights are read
            AutoModelForCausalLM.from_pretrained(case.name, device_map="meta", config=case.student,
                trust_remote_code=case.model.trust_remote_code)
    except (OSError, SafetensorError) as error:
        case.add("no_weights", name=case.name, fault=first_line(error))
    except Exception:  # an architecture that is not known here
        return


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
    name, known = case.data.template, len(case.used)
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
    if len(used) > known:  # `add_tokens` has been obeyed before
        case.add("tokens_added", template=name, count=len(used) - known)
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
    """Is each local adapter there, and one of this student? `mend` says how to make one."""
    for name in filter(is_local, filter(None, case.model.adapter_name_or_path or [])):
        folder = Path(name) / (case.model.adapter_folder or "")
        try:
            check_adapter(case, folder)
        except OSError:
            whole = (folder / "config.json").is_file()
            case.add(f"missing_file:{'model' if whole else 'adapter'}", value=name, mend=mend)
        except ValueError as error:
            case.add("bad_file:adapter", folder=folder, error=error)


def check_adapter(case: Preflight, folder: Path) -> None:
    """Was a local adapter trained on this student? Its weights decide, then the name it records.
    Raises OSError or ValueError where it cannot be read."""
    base = read_object(folder / _ADAPTER).get("base_model_name_or_path")
    model = fault = None
    try:
        model = case.student and adapted(empty_model(case.student), folder)
    except ValueError as error:
        fault = first_line(error)
    except Exception:  # an architecture or an adapter that is not known here
        pass
    fault = misfit(folder, model) or fault
    if fault:
        case.add("other_base:named" if base else "other_base", folder=folder, student=case.name,
                 fault=fault, base=base)
    elif base and Path(str(base)).name != Path(case.name).name:
        case.add("other_base:warning", folder=folder, student=case.name, base=base)


def adapted(model: Any, folder: Path) -> Any:
    """An empty model with an adapter as that in `folder`. Raises what PEFT raises."""
    import torch
    from peft import PeftConfig, get_peft_model

    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = False
    with quiet(), torch.device("meta"):
        return get_peft_model(model, config)


def misfit(folder: Path, model: Any) -> str | None:
    """How the weights of an adapter differ from those of this model's adapter; None also without a
    model. Raises ValueError where there are none that can be read."""
    from peft import get_peft_model_state_dict, load_peft_weights

    if not any(folder.glob("adapter_model.*")):
        raise ValueError("it has no weights")
    try:
        held = {name: value.shape for name, value in load_peft_weights(
            str(folder), device="cpu").items()}
    except Exception as error:
        raise ValueError(f"its weights: {first_line(error)}") from None
    wanted = {name: value.shape for name, value in get_peft_model_state_dict(
        model, save_embedding_layers=False).items()} if model and held else held
    wrong = sorted(name for name in wanted.keys() | held.keys()
                   if held.get(name, wanted.get(name)) != wanted.get(name) or name not in held)
    return f"{len(wrong)} of its {len(held)} weights do not fit, {wrong[0]} first" \
        if wrong else None
