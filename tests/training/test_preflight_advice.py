"""What `drp check`, `build` and `init` advise, done: the finding is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_models as tiny
import yaml
from click.testing import CliRunner
from preflight_help import codes, edit_set

from drp_plugin.errors import UserError

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.cli.sets import build as build_command  # noqa: E402
from drp_plugin.resources import table  # noqa: E402
from drp_plugin.training.preflight.check_config import check  # noqa: E402
from drp_plugin.training.sft_set import SetSettings, build  # noqa: E402
from drp_plugin.training.workspace import init, own_student  # noqa: E402


@pytest.fixture(scope="session")
def smol(tmp_path_factory):
    """A student that has no token for <think>, and a system prompt in its chat template."""
    chat = ("{% for message in messages %}{% if loop.first and message.role != 'system' %}"
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face.<|im_end|>\n{% endif %}<|im_start|>{{ message.role }}\n{{ message.content }}"
            "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
            "{% endif %}")
    return tiny.random_model(tiny.byte_tokenizer(
        tmp_path_factory.mktemp("models") / "smol", chat=chat, added=tiny.QWEN3_TOKENS[:3],
        bos=None, eos="<|im_end|>", pad="<|endoftext|>"), vocab=320, bos=256, eos=258)


def response(text: str) -> dict[str, object]:
    return {"response": text}


FAULTY = {
    "no_think_end": response("<think>\nnever ends"),
    "double_think": response("<think>\na <think> b\n</think>\n\nThe answer is 1."),
    "no_answer": response("<think>\na\n</think>\n\n"),
    "think_shape": response("<think>a</think>The answer is 1."),
    "no_think_start": response("a\n</think>\n\nThe answer is 1."),
    "no_think": response("The answer is 1."),
    "control_token": response(f"<think>\na {tiny.EOS} b\n</think>\n\nThe answer is 1."),
}


@pytest.mark.parametrize("code", FAULTY)
def test_building_with_drp_build_mends_a_row(good, tmp_path, code):
    path = good()
    edit_set(path, lambda rows: rows[3]["conversations"].__setitem__(
        1, {"from": "gpt", "value": FAULTY[code]["response"]}))
    assert code in codes(path)
    rows = tiny.rows(40)
    rows[3] |= FAULTY[code]
    assert codes(good(rows)) == []


def test_leaving_out_what_is_cut(good, byte_model, tmp_path):
    path = good(cutoff_len=212)
    (found,) = check(path).problems
    assert found.code == "cut_rows" and "--cutoff-len 212 --template deepseekr1" in found.text
    done = CliRunner().invoke(build_command, [
        str(tmp_path / "run"), "-o", str(tmp_path / "data"), "--name", "good", "--prompt",
        "eval_boxed", "--tokenizer", str(byte_model), "--cutoff-len", "212", "--replace"])
    assert done.exit_code == 0, done.output
    assert codes(path) == []


def test_cutoff_and_context(good, tmp_path):
    assert "set cutoff_len: 4096" in check(good(cutoff_len=8192)).problems[0].text
    assert codes(good(cutoff_len=4096)) == []


@pytest.mark.parametrize(("prompt", "asked", "says"), [
    ("none", None, "--prompt eval_boxed"), ("eval_boxed", "none", "--prompt none"),
    ("eval_answer", "eval_boxed", "--prompt eval_boxed"),
])
def test_the_trained_prompt_is_the_evaluated_one(good, tmp_path, prompt, asked, says):
    path = good()
    run, data = tmp_path / "run", tmp_path / "data"
    build([run], data, SetSettings(name="good", prompt=prompt), replace_set=True)
    (found,) = check(path, prompt=asked).problems
    assert found.code == "prompt_not_evaluated" and f"drp build {says}" in found.text
    assert codes(path, prompt=prompt) == []
    build([run], data, SetSettings(name="good", prompt=says.split()[1]), replace_set=True)
    assert codes(path, prompt=asked) == []


def test_the_tasks_ask_with_what_a_check_takes_for_their_prompt():
    from drp_plugin.evaluation.task_protocol import TaskProtocol
    from drp_plugin.training.templates import EVALUATED

    assert TaskProtocol(questions="gsm8k_test").prompt == EVALUATED


def test_a_student_without_a_think_token(good, smol, tmp_path):
    """Built for its template with its tokenizer, the system prompt counted, nothing is cut."""
    student = {"model_name_or_path": str(smol), "template": "smollm2"}
    cutoff = check(good(**student)).facts["tokens_max"] - 4
    path = good(**student, cutoff_len=cutoff)
    report = check(path)
    assert [f.code for f in report.problems] == ["cut_rows"]
    assert "think_is_text" in [f.code for f in report.findings]
    build([tmp_path / "run"], tmp_path / "data", SetSettings(
        name="good", template="smollm2", cutoff_len=cutoff, prompt="eval_boxed"), replace_set=True,
        tokenizer=str(smol))
    report = check(path)
    assert report.problems == [] and 0 < report.facts["rows"] < 40


def test_a_template_whose_system_prompt_is_not_the_students(good, smol, tmp_path):
    """As LLaMA-Factory's `smollm2`, which ends it with a full stop that the model has not."""
    own = tmp_path / "own"
    shutil.copytree(smol, own)
    for file in (own / "tokenizer_config.json", own / "chat_template.jinja"):
        if file.is_file():
            file.write_text(file.read_text().replace("Hugging Face.", "Hugging Face"))
    settings = {"model_name_or_path": str(own), "template": "smollm2"}
    (found,) = check(good(**settings)).problems
    assert found.code == "prompt_differs" and "set default_system" in found.text
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert codes(good(**settings, default_system=system)) == []


def test_a_system_prompt_of_the_rows_or_the_yaml_is_no_other_template(good, smol, tmp_path):
    settings = {"model_name_or_path": str(smol), "template": "smollm2"}
    assert codes(good(**settings, default_system="Think.")) == ["system_not_evaluated"]
    path = good(**settings)
    edit_set(path, lambda rows: [row.update(system="Think.") for row in rows])
    info = tmp_path / "data" / "dataset_info.json"
    entries = json.loads(info.read_text())
    entries["good"]["columns"]["system"] = "system"
    info.write_text(json.dumps(entries))
    assert codes(path) == ["system_not_evaluated"]


@pytest.mark.parametrize(("entry", "says"), [
    ({"file_name": "good.json"}, "its rows have no 'instruction'"),
    ({"file_name": "good.json", "formatting": "sharegpt", "columns": {"messages": "msgs"}},
     "its rows have no 'msgs'"),
    ({"file_name": "good.json", "formatting": "sharegpt", "columns": {
        "messages": "conversations"}, "tags": {"role_tag": "role", "content_tag": "content"}},
     "its rows have no 'role'"),
    ({"file_name": "good.json", "columns": {"prompt": "conversations", "response": "answer"}},
     "their columns are: conversations"),
])
def test_columns_and_tags_that_the_rows_do_not_have(good, tmp_path, entry, says):
    path = good()
    info = tmp_path / "data" / "dataset_info.json"
    right = json.loads(info.read_text())
    info.write_text(json.dumps({"good": entry}))
    (found,) = check(path).problems
    assert found.code == "bad_dataset" and says in found.text
    assert "Mend formatting, columns and tags of 'good'" in found.text
    info.write_text(json.dumps(right))
    assert codes(path) == []


def test_an_empty_file_and_a_mixed_one(good, tmp_path):
    path = good()
    for text, says in (("[]", "has no rows"), ("", "cannot be loaded"),
                       ('[{"conversations": []}, {"conversations": "x"}]', "cannot be loaded")):
        (tmp_path / "data" / "good.json").write_text(text)
        (found,) = check(path).problems
        assert found.code == "bad_dataset" and says in found.text
        assert "StopIteration" not in found.text and "while generating" not in found.text


@pytest.fixture
def adapter(byte_model, tmp_path):
    """A LoRA adapter of the random model, with another base's name if asked."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def make(base: Path = byte_model, named: str | None = None) -> Path:
        folder = tmp_path / "adapter"
        shutil.rmtree(folder, ignore_errors=True)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(
            task_type="CAUSAL_LM", r=8, target_modules=["q_proj", "v_proj"]))
        model.save_pretrained(folder)
        if named:
            file = folder / "adapter_config.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | {
                "base_model_name_or_path": named}))
        return folder
    return make


def test_an_adapter_of_another_base(good, adapter, tmp_path, byte_model):
    assert codes(good(adapter_name_or_path=str(adapter()))) == []
    assert codes(good(adapter_name_or_path=str(adapter(named="me/other")))) == ["other_base"]
    wide = tiny.random_model(tiny.byte_tokenizer(tmp_path / "byte"), hidden=64)
    report = check(good(adapter_name_or_path=str(adapter(wide, named=str(byte_model)))))
    assert [f.code for f in report.problems] == ["other_base"] and report.exit_code() == 1
    assert "weights do not fit" in report.problems[0].text


def test_a_workspace_for_ones_own_student_passes_the_check(smol, tmp_path, write_rows):
    folder = tmp_path / "work"
    init(folder, student=own_student(str(smol), "smollm2"))
    path = folder / "drp_smol.yaml"
    settings = yaml.safe_load(path.read_text())
    assert settings["model_name_or_path"] == str(smol) and settings["template"] == "smollm2"
    build([write_rows(tiny.rows(40))], folder / "data", SetSettings(
        name=settings["dataset"], template="smollm2", prompt="eval_boxed"))
    assert codes(path, overrides=["preprocessing_num_workers=1"]) == []
    for file in folder.rglob("*.yaml"):
        assert "R1-Distill" not in file.read_text() and "qwen7b" not in str(file)


@pytest.mark.parametrize(("model", "template", "says"), [
    ("/nowhere/model", "qwen3", "no such folder"), (None, "qwen3", "config.json"),
    ("me/model", None, "needs --template"), ("me/model", "smollm22", "Did you mean 'smollm2'"),
])
def test_a_student_that_cannot_be(tmp_path, model, template, says):
    with pytest.raises(UserError, match=says):
        own_student(model or str(tmp_path), template)


def test_another_release_is_one_line(good, monkeypatch):
    parts = table("llamafactory.yaml")["parts"]
    monkeypatch.setitem(parts, "data.loader", ["_load_no_dataset"])
    with pytest.raises(UserError, match=r"no data\.loader\._load_no_dataset.*llamafactory==0\.9"):
        check(good())


# settings that a finding is about, the finding, and what its advice comes to: settings or a change
MENDED = [
    ({"template": None}, "no_template", {"template": "deepseekr1"}),
    ({"template": "qwen"}, "eos_changed", {"template": "deepseekr1"}),
    ({"template": "empty"}, "no_eos", {"template": "deepseekr1"}),
    ({"enable_thinking": False}, "thinking_off", {"enable_thinking": None}),
    ({"dataset": 5}, "bad_value", {"dataset": "good"}),
    ({"dataset": "god"}, "unknown_dataset", {"dataset": "good"}),
    ({"packing": True, "cutoff_len": 300}, "pack_length", {"packing": True, "cutoff_len": 304}),
    ({"train_on_prompt": True}, "prompt_trained", {"train_on_prompt": None}),
    ({"val_size": 40}, "no_train_rows", {"val_size": 4}),
    ({"stage": "kto"}, "bad_stage", {"stage": "sft"}),
    ({"do_train": None, "eval_strategy": None}, "no_training", {}),
    ({"resume_from_checkpoint": True}, "no_checkpoint", {"resume_from_checkpoint": None}),
    ({"lora_rank": 0}, "bad_value", {"lora_rank": 1}),
]


@pytest.mark.parametrize(("faulty", "code", "mended"), MENDED, ids=str)
def test_a_setting_that_is_mended_as_advised(good, faulty, code, mended):
    assert code in codes(good(**faulty))
    assert codes(good(**mended)) == []


def test_rows_to_evaluate_on_are_asked_for_by_the_parser(good):
    with pytest.raises(UserError, match=r"eval_dataset be provided or val_size"):
        check(good(val_size=None))
    assert codes(good(val_size=0.1)) == codes(good(val_size=None, eval_strategy="no")) == []


@pytest.mark.parametrize("code", ["bad_dataset_info", "no_dataset_info", "bad_dataset"])
def test_building_the_set_again_mends_its_files(good, tmp_path, code):
    path, data = good(), tmp_path / "data"
    if code == "bad_dataset_info":
        (data / "dataset_info.json").write_text("[]")
    else:
        (data / ("good.json" if code == "bad_dataset" else "dataset_info.json")).unlink()
    assert code in codes(path)
    if code == "bad_dataset_info":  # `drp build` mends no file that others may have written
        (data / "dataset_info.json").unlink()
    build([tmp_path / "run"], data, SetSettings(name="good", prompt="eval_boxed"),
          replace_set=True)
    assert codes(path) == []


def test_a_set_that_is_built_to_its_size_needs_no_max_samples(good, tmp_path, write_rows):
    """Also where several are to be mixed."""
    path = good(tiny.rows(200), max_samples=100)
    edit_set(path, lambda rows: rows.sort(key=lambda r: len(r["conversations"][1]["value"])))
    (tmp_path / "data" / "good.provenance.jsonl").unlink()
    assert codes(path) == ["unshuffled_max_samples"]
    build([tmp_path / "run"], tmp_path / "data", SetSettings(
        name="good", prompt="eval_boxed", size=100), replace_set=True)
    assert codes(path) == []
    build([tmp_path / "run"], tmp_path / "data", SetSettings(
        name="more", prompt="eval_boxed", size=100))
    both = good(tiny.rows(200), dataset="good,more", max_samples=150)
    assert codes(both) == ["max_samples_each"]


def test_rows_stored_before_and_splits_of_splits(good, tmp_path):
    stored = tmp_path / "stored"
    stored.mkdir()
    (stored / "dataset_dict.json").write_text("{}")
    assert codes(good(tokenized_path=str(stored))) == ["stored_rows"]
    shutil.rmtree(stored)
    path = good(tokenized_path=str(stored))
    assert codes(path) == []
    info = tmp_path / "data" / "dataset_info.json"
    entries = json.loads(info.read_text())
    (tmp_path / "data" / "val.json").write_text(json.dumps(
        [{"conversations": [{"from": "human", "value": "Another?"}, {
            "from": "gpt", "value": "<think>\nYes.\n</think>\n\nThe answer is 1."}]}]))

    def split(**settings: object) -> list[str]:
        made = good(dataset="good_train", **settings)
        info.write_text(json.dumps(entries | {"good_train": entries["good"], "good_val": {
            **entries["good"], "file_name": "val.json"}}))
        return codes(made, prompt="eval_boxed")

    assert split() == ["split_of_split"]
    assert "split_of_split" not in split(val_size=None, eval_dataset="good_val")


def test_a_mix_that_the_framework_dies_of_is_foretold(good, tmp_path):
    """`interleave_once` needs a newer `datasets` than some environments have."""
    from datasets import Dataset, interleave_datasets

    path = good(dataset="good,more", mix_strategy="interleave_once", val_size=None,
                eval_strategy=None)
    build([tmp_path / "run"], tmp_path / "data", SetSettings(
        name="more", prompt="eval_boxed", seed=1), replace_set=True)
    rows = Dataset.from_list([{"a": 1}])
    try:
        interleave_datasets([rows, rows], stopping_strategy="all_exhausted_without_replacement")
    except ValueError:
        (found,) = check(path).problems
        assert found.code == "bad_mix" and "interleave_once" in found.text
        path = good(dataset="good,more", mix_strategy="interleave_over", val_size=None,
                    eval_strategy=None)
    assert codes(path) == []
