"""Each mistake that costs GPU days, planted and found; the good YAML passes in silence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models as tiny
import yaml
from click.testing import CliRunner

from drp_plugin.errors import UserError
from drp_plugin.resources import resource

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.training.preflight import framework  # noqa: E402
from drp_plugin.training.preflight.check_config import check  # noqa: E402
from drp_plugin.training.preflight.files import zero_stage  # noqa: E402


def codes(path: Path, **arguments: object) -> list[str]:
    return [f.code for f in check(path, **arguments).problems]


def edit_set(path: Path, change: Callable[[list[dict]], object]) -> None:
    """Change the rows of the set that the YAML names, behind `drp build`'s back."""
    settings = yaml.safe_load(path.read_text())
    file = Path(settings["dataset_dir"]) / "good.json"
    rows = json.loads(file.read_text())
    change(rows)
    file.write_text(json.dumps(rows, ensure_ascii=False))


def response(rows: list[dict], number: int) -> str:
    return rows[number]["conversations"][1]["value"]


def respond(rows: list[dict], number: int, text: str) -> None:
    rows[number]["conversations"][1]["value"] = text


def test_the_good_yaml_passes_in_silence(good):
    report = check(good())
    assert report.problems == []
    assert report.exit_code(strict=True) == 0
    assert report.facts["rows"] == 40 and report.facts["cut_rows"] == 0
    assert report.facts["prefilled_think"] is True


def test_steps_and_batch_are_those_of_the_trainer(good):
    facts = check(good(num_train_epochs=2.0), gpus=2).facts
    # 40 rows, 2 held out; 38 rows in batches of 2 on 2 GPUs, 2 accumulated
    assert (facts["train_rows"], facts["eval_rows"]) == (38, 2)
    assert facts["effective_batch"] == 8
    assert facts["steps"] == 10


def test_examples_show_what_is_masked_and_what_is_trained(good):
    example = check(good()).examples[0]
    assert example.masked.startswith(tiny.BOS + tiny.USER)
    assert example.masked.endswith(tiny.ASSISTANT)
    assert example.trained.startswith("<think>\n") and example.trained.endswith(tiny.EOS)


# The thirteen mistakes.


def test_1_tokenizer_that_loses_white_space(good, byte_model, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(byte_model, broken)
    settings = json.loads((broken / "tokenizer.json").read_text())
    # what transformers 5.6.0 makes of a `LlamaTokenizer` class over byte-level BPE
    settings["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁",
                                 "prepend_scheme": "never", "split": False}
    settings["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never",
                           "split": False}
    (broken / "tokenizer.json").write_text(json.dumps(settings, ensure_ascii=False))
    assert "tokenizer_loses_space" in codes(good(model_name_or_path=str(broken)))


@pytest.mark.parametrize("template", ["qwen", "deepseek3", "llama3", "qwen3"])
def test_2_wrong_template(good, template):
    found = codes(good(template=template))
    if template == "deepseek3":  # the same layout without thinking: nothing differs
        assert found == []
    else:
        assert "prompt_differs" in found and "eos_changed" in found


def test_2_no_template(good):
    assert "no_template" in codes(good(template=None))


def test_3_double_think_in_the_response(good):
    path = good()
    edit_set(path, lambda rows: respond(rows, 3, "<think>\n" + response(rows, 3)))
    assert codes(path) == ["double_think"]


def test_3_double_think_from_the_prompt(good):
    path = good()

    def prefill(rows: list[dict]) -> None:
        rows[0]["conversations"][0]["value"] += "<think>\n"

    edit_set(path, prefill)
    found = check(path).problems
    assert [f.code for f in found] == ["double_think"]
    assert "in the prompt" in found[0].text and "drp build" not in found[0].text


def test_4_missing_think_end(good):
    path = good()
    edit_set(path, lambda rows: respond(rows, 5, response(rows, 5).replace("</think>", "")))
    assert codes(path) == ["no_think_end"]


def test_5_missing_eos(good):
    # the `empty` template writes no end token
    found = codes(good(template="empty"))
    assert "no_eos" in found


def test_6_cut_rows(good):
    path = good(cutoff_len=140)
    report = check(path)
    assert [f.code for f in report.problems] == ["cut_rows"]
    assert 0 < report.facts["cut_rows"] < 40
    assert report.exit_code() == 1
    assert check(path, max_cut=100).exit_code() == 0


def test_6_cut_rows_are_counted_exactly(good):
    lengths = []
    for cutoff in (140, 145, 150):
        report = check(good(cutoff_len=cutoff))
        lengths.append(report.facts["cut_rows"])
    rows = tiny.rows(40)
    # one token a byte, three control tokens in front and behind, two tags of one token each
    sizes = [3 + len(r["question"]) + 2 + 1 + len(
        r["response"].replace("<think>", "").replace("</think>", "")) for r in rows]
    assert lengths == [sum(size > cutoff for size in sizes) for cutoff in (140, 145, 150)]


def test_7_unknown_data_set(good):
    report = check(good(dataset="god"))
    assert [f.code for f in report.problems] == ["unknown_dataset"]
    assert "did you mean 'good'" in report.problems[0].text


def test_7_missing_data_file(good, tmp_path):
    path = good()
    (tmp_path / "data" / "good.json").unlink()
    assert codes(path) == ["bad_dataset"]


def test_7_no_dataset_info(good, tmp_path):
    assert codes(good(dataset_dir=str(tmp_path / "nowhere"))) == ["no_dataset_info"]


@pytest.mark.parametrize("leak", [" (Answer: {})", "\nThe answer is {}.", " #### {}",
                                  " Hint: \\boxed{{{}}}"])
def test_8_gold_in_the_prompt(good, leak):
    path = good()

    def give_away(rows: list[dict]) -> None:
        final = response(rows, 2).rsplit(" ", 1)[1].rstrip(".")
        rows[2]["conversations"][0]["value"] += leak.format(final)

    edit_set(path, give_away)
    assert codes(path) == ["gold_in_prompt"]


def test_9_empty_response(good):
    path = good()
    edit_set(path, lambda rows: respond(rows, 7, ""))
    assert "empty_response" in codes(path)


def test_10_wrong_tokenizer(good, tmp_path):
    other = tiny.random_model(
        tiny.byte_tokenizer(tmp_path / "other", added=tiny.QWEN3_TOKENS, bos=None,
                            eos="<|im_end|>", pad="<|endoftext|>"), vocab=320)
    found = codes(good(model_name_or_path=str(other)))
    assert "wrong_tokenizer" in found


def test_10_tokenizer_larger_than_the_model(good, tmp_path):
    small = tiny.random_model(tiny.byte_tokenizer(tmp_path / "small"), vocab=270)
    assert "wrong_tokenizer" in codes(good(model_name_or_path=str(small)))


def test_11_split_of_a_split(good, tmp_path):
    path = good(dataset="good_train")
    info = tmp_path / "data" / "dataset_info.json"
    entries = json.loads(info.read_text())
    entries["good_train"] = entries["good_val"] = entries["good"]
    info.write_text(json.dumps(entries))
    assert codes(path) == ["split_of_split"]


def test_11_evaluation_rows_are_trained_on(good):
    found = codes(good(eval_dataset="good", val_size=None))
    assert found == ["eval_in_train"]


def test_11_eval_dataset_and_val_size(good):
    with pytest.raises(UserError, match="val_size"):
        check(good(eval_dataset="good"))


def test_12_max_samples_over_an_unshuffled_mix(good, tmp_path):
    path = good(tiny.rows(200), max_samples=100)
    assert codes(path) == []
    edit_set(path, lambda rows: rows.sort(key=lambda r: len(r["conversations"][1]["value"])))
    (tmp_path / "data" / "good.provenance.jsonl").unlink()  # nobody says which row is from where
    assert codes(path) == ["unshuffled_max_samples"]


def test_12_max_samples_over_sources_in_order(good, tmp_path):
    path = good(tiny.rows(200), max_samples=100)
    file = tmp_path / "data" / "good.provenance.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(sorted(lines, key=lambda line: json.loads(line)["group"])))
    assert codes(path) == ["unshuffled_max_samples"]


def test_13_cutoff_over_the_context(good):
    assert "cutoff_over_context" in codes(good(cutoff_len=8192))


# And beyond the thirteen.


@pytest.fixture(scope="module")
def chatml_model(tmp_path_factory):
    """Qwen3's and QwQ's layout over one token a byte, with QwQ's prefilled <think>."""
    return tiny.random_model(tiny.byte_tokenizer(
        tmp_path_factory.mktemp("models") / "chatml", chat=tiny.chat_template("chat_chatml"),
        added=tiny.QWEN3_TOKENS, bos=None, eos="<|im_end|>", pad="<|endoftext|>"),
        vocab=320, bos=256, eos=258)


def test_qwen3_and_qwq_by_naming_their_template(good, chatml_model):
    assert codes(good(model_name_or_path=str(chatml_model), template="qwen3")) == []


def test_qwq_under_llama_factorys_own_entry(good, chatml_model):
    """LLaMA-Factory lists QwQ under `qwen`, whose system prompt inference does not send."""
    report = check(good(model_name_or_path=str(chatml_model), template="qwen"))
    assert [f.code for f in report.problems] == ["prompt_differs"]
    assert "You are Qwen" in report.examples[0].masked


def test_thinking_switched_off(good):
    assert "thinking_off" in codes(good(enable_thinking=False))


def test_openai_formatting_changes_the_prompt(good, tmp_path):
    path = good()
    info = tmp_path / "data" / "dataset_info.json"
    info.write_text(json.dumps({"good": {
        "file_name": "good.json", "formatting": "openai",
        "columns": {"messages": "conversations"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human",
                 "assistant_tag": "gpt"}}}))
    assert "prompt_differs" in codes(path)


def test_an_adapter_that_is_not_there(good, tmp_path):
    assert "missing_file" in codes(good(adapter_name_or_path=str(tmp_path / "none")))


def test_deepspeed_plan_that_is_not_there(good, tmp_path):
    assert "missing_file" in codes(good(deepspeed=str(tmp_path / "none.json")))


def test_preference_pairs_are_checked_on_both_sides(good, tmp_path, write_rows):
    from drp_plugin.training.sft_set import SetSettings, build

    path = good(dataset="pairs", stage="dpo", val_size=None, eval_strategy=None)
    build([write_rows(tiny.rows(20))], tmp_path / "data", SetSettings(name="pairs", pairs=True))
    assert codes(path) == []
    file = tmp_path / "data" / "pairs.json"
    rows = json.loads(file.read_text())
    rows[4]["rejected"]["value"] = rows[4]["rejected"]["value"].replace("</think>", "")
    file.write_text(json.dumps(rows))
    assert codes(path) == ["no_think_end"]


@pytest.mark.parametrize(("changes", "says"), [
    ({"cuttoff_len": 3}, "cutoff_len"),
    ({"stage": "sfft"}, "refuses"),
])
def test_what_the_parser_refuses_is_one_line(good, changes, says):
    with pytest.raises(UserError, match=says) as error:
        check(good(**changes))
    assert "\n" not in str(error.value)


# SetSettings that the parser takes, and of which training dies or trains nothing.

ZERO3 = {"zero_optimization": {"stage": 3}}


@pytest.fixture
def zero3(tmp_path):
    plan = tmp_path / "zero3.json"
    plan.write_text(json.dumps(ZERO3))
    return str(plan)


@pytest.mark.parametrize(("changes", "says"), [
    ({"cutoff_len": "abc"}, "cutoff_len: 'abc' is not a whole number"),
    ({"learning_rate": "abc"}, "learning_rate: 'abc' is not a number"),
    ({"lora_rank": "8"}, "lora_rank: '8' is not a whole number"),
    ({"max_samples": 1e3}, "max_samples: 1000.0"),
    ({"ray_num_workers": "abc"}, "ray_num_workers: 'abc'"),
    ({"bf16": "false"}, "bf16: 'false' is not true or false"),
    ({"quantization_method": "bmb"}, "Did you mean 'bnb'"),
    ({"bf16": True, "fp16": True}, "fp16 and bf16"),
    ({"fsdp": "full_shart"}, "full_shart"),
])
def test_values_of_the_wrong_kind_are_named(good, changes, says):
    with pytest.raises(UserError, match=says):
        check(good(**changes))


def test_a_number_left_empty_is_named(good):
    path = good()
    path.write_text(path.read_text() + "max_steps:\n")
    with pytest.raises(UserError, match="max_steps: None"):
        check(path)


@pytest.mark.parametrize("lines", [
    "bf16: true", "fp16: true", "fp16: true\nbf16: false", "fsdp: full_shard auto_wrap",
    "warmup_ratio: 1e-1", "max_samples:", "tf32: true", "pure_bf16: true",
    "ray_num_workers: 2\nray_init_kwargs:\n  num_cpus: 2", "num_train_epochs: 3",
    "eval_steps: 2", "additional_target: embed_tokens", "lora_target: q_proj,v_proj",
])
def test_settings_that_are_fine_stay_so(good, lines):
    path = good()
    keys = {line.split(":")[0] for line in lines.splitlines()}
    kept = [line for line in path.read_text().splitlines() if line.split(":")[0] not in keys]
    path.write_text("\n".join([*kept, lines]) + "\n")
    assert codes(path) == []


@pytest.mark.parametrize("key", [
    "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps",
    "max_samples", "cutoff_len", "lora_rank", "learning_rate", "ray_num_workers"])
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_that_must_be_more_than_0(good, key, value):
    (found,) = check(good(**{key: value})).problems
    assert found.code == "bad_value" and found.text.startswith(f"{key} is {value}")


def test_data_set_names_that_are_numbers(good):
    assert codes(good(dataset=5)) == ["bad_value"]


@pytest.mark.parametrize(("changes", "code"), [
    ({"val_size": 100}, "no_train_rows"),
    ({"val_size": 40}, "no_train_rows"),
    ({"val_size": 0.99}, "no_train_rows"),
    ({"num_train_epochs": -1.0}, "no_steps"),
    ({"num_train_epochs": 0}, "no_steps"),
    ({"resume_from_checkpoint": "/nope"}, "no_checkpoint"),
    ({"resume_from_checkpoint": True}, "no_checkpoint"),
    ({"lora_target": "q_prj"}, "not_trainable"),
    ({"lora_dropout": 1.5}, "not_trainable"),
    ({"quantization_bit": 3}, "bad_quantization"),
    ({"stage": "kto"}, "bad_stage"),
    ({"stage": "pt"}, "bad_stage"),
    ({"fsdp": "full_shard", "fsdp_config": "nope.json"}, "missing_file"),
    ({"do_train": None, "eval_strategy": None}, "no_training"),
    ({"dataset": []}, "no_rows"),
])
def test_yamls_that_would_train_nothing(good, changes, code):
    report = check(good(**changes))
    assert [f.code for f in report.problems] == [code]
    assert report.exit_code() == 1


def test_a_stage_that_sets_cannot_serve_names_those_they_can(good):
    (found,) = check(good(stage="kto")).problems
    assert "'kto'" in found.text and "sft" in found.text and "dpo" in found.text


@pytest.mark.parametrize("key", ["deepspeed", "fsdp_config"])
@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_plans_that_are_no_json_object(good, tmp_path, key, text):
    plan = tmp_path / "plan.json"
    plan.write_text(text)
    assert codes(good(**{key: str(plan)})) == ["bad_file"]


def test_quantized_weights_under_zero3(good, zero3):
    """As LLaMA-Factory has it: 4 bits can be sharded, 8 cannot."""
    assert codes(good(quantization_bit=4, deepspeed=zero3)) == []
    assert codes(good(quantization_bit=8, deepspeed=zero3)) == ["bad_quantization"]


def test_the_parser_hears_of_zero3(good, zero3):
    assert codes(good(pure_bf16=True)) == []
    with pytest.raises(UserError, match="ZeRO-3"):
        check(good(pure_bf16=True, deepspeed=zero3))


def test_the_stage_of_a_plan_is_read_from_it(zero3):
    for plan in (zero3, ZERO3, json.dumps(ZERO3)):
        assert zero_stage(plan) == 3
    for plan in (None, "nowhere.json", "{", {}, {"zero_optimization": 3}):
        assert zero_stage(plan) == 0


def test_trained_parameters_are_those_of_peft(good):
    # two layers; q 32x32, k and v 32x16, o 32x32, three of the MLP 32x64
    facts = check(good(use_cpu=None)).facts
    assert facts["trained_parameters"] == 2 * 8 * (64 + 48 + 48 + 64 + 3 * 96)
    assert check(good(use_cpu=None, lora_target="q_proj")).facts[
        "trained_parameters"] == 2 * 8 * 64


def test_rows_stored_by_an_earlier_run(good, tmp_path):
    path = good(tokenized_path=str(tmp_path / "stored"))
    assert codes(path) == []
    (tmp_path / "stored").mkdir()
    assert codes(path) == []
    (tmp_path / "stored" / "dataset_dict.json").write_text("{}")
    (found,) = check(path).problems
    assert found.code == "stored_rows" and str(tmp_path / "stored") in found.text


def test_a_checkpoint_to_go_on_from(good, tmp_path):
    folder = tmp_path / "out" / "checkpoint-5"
    folder.mkdir(parents=True)
    for resume in (None, True, str(folder)):  # training takes the last one unasked
        path = good(resume_from_checkpoint=resume)
        assert codes(path) == ["no_checkpoint"]  # of a run that was killed while it saved
    (folder / "trainer_state.json").write_text("{}")
    report = check(path)
    assert report.problems == []
    assert "resume" in [f.code for f in report.findings]


@pytest.mark.parametrize("text", ["", "{", "[]", '"good"'])
def test_a_dataset_info_that_is_no_json_object(good, tmp_path, text):
    path = good()
    (tmp_path / "data" / "dataset_info.json").write_text(text)
    (found,) = check(path).problems
    assert found.code == "bad_dataset_info" and "JSON" in found.text


@pytest.mark.parametrize(("values", "gpus"), [
    ({"NPROC_PER_NODE": "4", "NNODES": "2"}, 8), ({"NPROC_PER_NODE": "0"}, 1),
    ({"NPROC_PER_NODE": "auto"}, 1), ({"NPROC_PER_NODE": "2", "NNODES": "1:4"}, 2)])
def test_gpus_of_the_launcher(good, monkeypatch, values, gpus):
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert check(good()).facts["gpus"] == gpus


def test_a_check_leaves_the_environment_as_it_was(good, monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)  # which the parser sets
    before = dict(os.environ)
    check(good(bf16=True, fsdp="full_shard"))
    assert dict(os.environ) == before


@pytest.mark.parametrize("name", ["me/adapter", "nowhere", "saves/nowhere", "./a/b", "~/adapter"])
def test_adapters_of_the_hub_are_not_looked_for(good, name):
    wanted = [] if name == "me/adapter" else ["missing_file"]
    assert codes(good(adapter_name_or_path=name)) == wanted


@pytest.mark.parametrize("text", ["{", "[]"])
def test_an_adapter_that_cannot_be_read(good, tmp_path, text):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(text)
    assert codes(good(adapter_name_or_path=str(tmp_path / "adapter"))) == ["bad_file"]


# Exports.


@pytest.fixture
def export(tmp_path, byte_model):
    """An export YAML with its adapter; keywords change the settings."""
    def make(**changes: object) -> Path:
        adapter = tmp_path / "adapter"
        adapter.mkdir(exist_ok=True)
        (adapter / "adapter_config.json").write_text(
            json.dumps({"base_model_name_or_path": str(byte_model)}))
        path = tmp_path / "export.yaml"
        path.write_text(yaml.safe_dump({
            "model_name_or_path": str(byte_model), "adapter_name_or_path": str(adapter),
            "template": "deepseekr1", "export_dir": str(tmp_path / "merged")} | changes))
        return path
    return make


def test_a_good_export_passes_in_silence(export):
    assert check(export()).problems == []


@pytest.mark.parametrize("path", sorted(resource("llamafactory_configs").glob("export/*.yaml")),
                         ids=lambda path: path.stem)
def test_shipped_exports_pass_in_silence(path, byte_model, tmp_path, monkeypatch):
    adapter = tmp_path / yaml.safe_load(path.read_text())["adapter_name_or_path"]
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert codes(path, model=str(byte_model)) == []


@pytest.mark.parametrize(("changes", "code"), [
    ({"template": "qwen"}, "eos_changed"),
    ({"template": "nope"}, "bad_template"),
    ({"template": "alpaca"}, "chat_template_changed"),
    ({"quantization_bit": 4}, "quantized_merge"),
    ({"adapter_name_or_path": "saves/nowhere"}, "missing_file"),
])
def test_exports_that_go_wrong(export, changes, code):
    report = check(export(**changes))
    assert code in [f.code for f in report.problems]
    assert report.exit_code() == 1


def test_an_export_of_another_models_tokenizer(export, chatml_model):
    assert "wrong_tokenizer" in codes(export(model_name_or_path=str(chatml_model)))


def test_an_export_over_its_own_source(export, byte_model, tmp_path):
    for folder in (byte_model, tmp_path / "adapter", tmp_path / "x" / ".." / "adapter"):
        assert codes(export(export_dir=str(folder))) == ["overwrites_source"]


def test_an_export_of_an_adapter_of_the_hub(export):
    assert codes(export(adapter_name_or_path="me/adapter")) == []


def test_an_export_whose_model_is_on_the_hub(export, monkeypatch):
    def offline(parsed: object) -> None:
        raise UserError("the tokenizer cannot be loaded")

    monkeypatch.setattr(framework, "load_tokenizers", offline)
    report = check(export(model_name_or_path="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"))
    assert "no_tokenizer" in [f.code for f in report.findings]
    assert [f.code for f in report.problems] == ["other_base"]
    assert "bad_template" in codes(export(
        model_name_or_path="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", template="nope"))
    with pytest.raises(UserError, match="cannot be loaded"):
        check(export(model_name_or_path=str(Path("/nowhere/model"))))


@pytest.mark.parametrize(("changes", "says"), [
    ({"export_size": "big"}, "export_size: 'big'"),
    ({"export_dirr": "x"}, "Did you mean 'export_dir'"),
    ({"infer_dtype": "bf16"}, "bfloat16"),
])
def test_what_the_parser_refuses_of_an_export(export, changes, says):
    with pytest.raises(UserError, match=says):
        check(export(**changes))


def test_a_model_that_cannot_be_had_is_one_line(good):
    with pytest.raises(UserError, match="--model PATH"):
        check(good(model_name_or_path="nobody/nothing"))


def test_command_exit_codes_and_output(good, tmp_path):
    from drp_plugin.cli.check import command

    path = good()
    run = CliRunner().invoke(command, [str(path), "--no-color"], standalone_mode=False)
    assert run.return_value == 0, run.output
    assert "nothing wrong found" in run.output and "trained: <think>" in run.output
    colour = CliRunner().invoke(command, [str(path), "--color"], standalone_mode=False, color=True)
    assert "\x1b[32m<think>" in colour.output
    bad = CliRunner().invoke(command, [str(path), "cutoff_len=140", "--quiet"],
                             standalone_mode=False)
    assert bad.return_value == 1
    assert len(bad.output.strip().splitlines()) == 1 and "cut_rows" in bad.output
    as_json = CliRunner().invoke(command, [str(path), "cutoff_len=140", "--json"],
                                 standalone_mode=False)
    assert json.loads(as_json.output)["findings"][0]["code"] == "cut_rows"
    assert not (tmp_path / "out").exists()  # a check leaves nothing behind
