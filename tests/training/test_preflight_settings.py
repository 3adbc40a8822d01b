"""Settings that the parser refuses, and those that it takes and of which training dies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_models as tiny
from preflight_help import codes

from drp_plugin.errors import UserError

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.training.preflight.check_config import check  # noqa: E402
from drp_plugin.training.preflight.files import zero_stage  # noqa: E402


def test_an_adapter_that_is_not_there(good, tmp_path):
    assert "missing_file" in codes(good(adapter_name_or_path=str(tmp_path / "none")))


def test_deepspeed_plan_that_is_not_there(good, tmp_path):
    assert "missing_file" in codes(good(deepspeed=str(tmp_path / "none.json")))


@pytest.mark.parametrize(("changes", "says"), [
    ({"cuttoff_len": 3}, "cutoff_len"),
    ({"stage": "sfft"}, "refuses"),
])
def test_what_the_parser_refuses_is_one_line(good, changes, says):
    with pytest.raises(UserError, match=says) as error:
        check(good(**changes))
    assert "\n" not in str(error.value)


# Settings that the parser takes, and of which training dies or trains nothing.

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
    ({"adapter_name_or_path": ["a", "b"]}, "no list here: adapter_name_or_path"),
    ({"add_tokens": ["<a>"]}, "no list here: add_tokens"),
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
    "dataloader_num_workers: 0",
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
    ({"output_dir": "config.yaml"}, "bad_output"),
    ({"output_dir": "config.yaml/out"}, "bad_output"),
    ({"tokenized_path": "config.yaml"}, "bad_output"),
    ({"preprocessing_num_workers": 0}, "bad_value"),
    ({"dataloader_num_workers": -1}, "bad_value"),
    ({"streaming": True, "max_steps": 3, "val_size": 2}, "bad_dataset"),
    ({"streaming": True, "max_steps": 3, "val_size": 2, "dataloader_num_workers": 64},
     "bad_dataset"),
    ({"report_to": "tensorbord"}, "trainer_fails"),
    ({"lr_scheduler_type": "cosine_with_min_lr"}, "trainer_fails"),
    ({"early_stopping_steps": 2}, "trainer_fails"),
    ({"metric_for_best_model": "accuracy"}, "bad_metric"),
    ({"metric_for_best_model": "rouge-l"}, "bad_metric"),
    ({"lora_target": "q_proj,v_poj"}, "no_layer"),
    ({"additional_target": "lm_heads"}, "no_layer"),
])
def test_yamls_that_would_train_nothing(good, changes, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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
    assert codes(path) == ["resume_other"]  # its adapter is not there
    tiny.adapter_without_layers(folder)
    report = check(path)
    assert report.problems == []
    assert "resume" in [f.code for f in report.findings]


@pytest.mark.parametrize("name", ["me/adapter", "nowhere", "saves/nowhere", "./a/b", "~/adapter"])
def test_adapters_of_the_hub_are_not_looked_for(good, name):
    wanted = [] if name == "me/adapter" else ["missing_file"]
    assert codes(good(adapter_name_or_path=name)) == wanted


@pytest.mark.parametrize("text", ["{", "[]"])
def test_an_adapter_that_cannot_be_read(good, tmp_path, text):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(text)
    assert codes(good(adapter_name_or_path=str(tmp_path / "adapter"))) == ["bad_file"]


@pytest.mark.parametrize("name", ["config.txt", "config.YAML", "config.json", "config"])
def test_files_that_llamafactory_cli_reads_otherwise(good, tmp_path, name):
    with pytest.raises(UserError, match=r"other file than \.yaml and \.yml"):
        check(good().rename(tmp_path / name))
    assert codes((tmp_path / name).rename(tmp_path / "config.yml")) == []


@pytest.mark.parametrize("lines", [
    "add_tokens: <a>,<b>", "rope_scaling: yarn\ncutoff_len: 8192", "warmup_steps: 9",
    "additional_target: embed_tokens,lm_head", "metric_for_best_model: eval_loss",
    "metric_for_best_model: accuracy\ncompute_accuracy: true", "resume_from_checkpoint: false",
])
def test_settings_that_are_no_fault(good, lines):
    """Of these LLaMA-Factory makes what they say."""
    path = good()
    keys = {line.split(":")[0] for line in lines.splitlines()}
    kept = [line for line in path.read_text().splitlines() if line.split(":")[0] not in keys]
    path.write_text("\n".join([*kept, lines]) + "\n")
    assert codes(path) == []


@pytest.mark.parametrize(("changes", "code"), [
    ({"warmup_steps": 100}, "warmup"), ({"dataset": "good,good"}, "named_twice"),
])
def test_what_is_done_otherwise_than_it_says(good, changes, code):
    report = check(good(**changes))
    assert [f.code for f in report.problems] == [code] and report.exit_code() == 0


def test_results_do_not_go_over_the_model(good, byte_model, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(byte_model, model)
    path = good(model_name_or_path=str(model), output_dir=str(model), overwrite_output_dir=True)
    assert codes(path) == ["overwrites_source"]


def test_loggers_that_nobody_chose(good):
    assert codes(good(report_to=None)) in ([], ["reports"])  # by what is installed


@pytest.mark.parametrize("change", [Path.unlink, lambda file: file.write_text("version https://")])
def test_weights_that_cannot_be_read(good, byte_model, tmp_path, change):
    model = tmp_path / "model"
    shutil.copytree(byte_model, model)
    change(model / "model.safetensors")
    assert codes(good(model_name_or_path=str(model))) == ["no_weights"]
    assert codes(good(), model=str(model)) == [], "tokenizer and config are enough for --model"


def test_the_wrong_folder_for_a_model_or_an_adapter(good, byte_model, tmp_path):
    (found,) = check(good(adapter_name_or_path=str(byte_model))).problems
    assert found.code == "missing_file" and "model_name_or_path" in found.text
    adapter = tiny.adapter_without_layers(tmp_path / "adapter")
    with pytest.raises(UserError, match=r"is an adapter\. Name it under adapter_name_or_path"):
        check(good(model_name_or_path=str(adapter)))
    (adapter / "adapter_model.safetensors").unlink()
    assert codes(good(adapter_name_or_path=str(adapter))) == ["bad_file"]
    assert codes(good(stage="dpo", ref_model=str(tmp_path / "none")))[0] == "bad_dataset"
