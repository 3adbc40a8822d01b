"""What `drp check` foresees is what LLaMA-Factory then does: small trainings, really run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import yaml
from preflight_help import codes

from drp_plugin.errors import UserError

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.training.preflight.check_config import check  # noqa: E402
from drp_plugin.training.sft_set import SetSettings, build  # noqa: E402


def trained(path: Path) -> dict[str, Any]:
    """Train by the YAML; returns the steps that were made and the rows that the trainer had."""
    from llamafactory.train.tuner import run_exp
    from transformers import TrainerCallback

    seen: dict[str, Any] = {}

    class Watch(TrainerCallback):
        def on_train_begin(self, args, state, control, train_dataloader=None, **kwargs):
            seen["start"] = state.global_step
            rows = train_dataloader.dataset
            if hasattr(rows, "__len__"):
                seen["train_rows"] = len(rows)
                seen["ids"] = sorted(rows["input_ids"]) if "input_ids" in rows.column_names else []

        def on_train_end(self, args, state, control, **kwargs):
            seen["steps"] = state.global_step

    run_exp(yaml.safe_load(path.read_text()), callbacks=[Watch()])
    return seen


QUICK = {"val_size": None, "eval_strategy": None, "save_strategy": "no", "learning_rate": 1e-4}
SECOND = {"dataset": "good,more"}


@pytest.fixture
def both(good, tmp_path, write_rows):
    """The good YAML, with a second set of 12 rows beside its own."""
    def make(**changes: object) -> Path:
        path = good(**QUICK | changes)
        rows = [{**row, "question": f"Again: {row['question']}"} for row in tiny.rows(12)]
        build([write_rows(rows, "second")], tmp_path / "data",
              SetSettings(name="more", prompt="eval_boxed"), replace_set=True)
        return path
    return make


@pytest.mark.parametrize("changes", [
    {},
    {"val_size": 0.1, "eval_strategy": "epoch"},
    {"val_size": 7},
    {"packing": True},
    {"packing": True, "preprocessing_num_workers": 2},
    {"packing": True, "preprocessing_batch_size": 10, "val_size": 5},
    {"packing": True, "cutoff_len": 304},
    {"neat_packing": True},
    {"max_steps": 3},
    {"max_samples": 9},
    {"dataloader_drop_last": True, "per_device_train_batch_size": 3},
    {"num_train_epochs": 1.5},
    {"gradient_accumulation_steps": 7},
    {"streaming": True, "max_steps": 3, "dataloader_num_workers": 1},
    {"cutoff_len": 150},
    {"mask_history": True},
    {"lr_scheduler_type": "warmup_stable_decay"},  # LLaMA-Factory itself gives it its lengths
    SECOND,
    SECOND | {"max_samples": 10},
    SECOND | {"mix_strategy": "interleave_under"},
    SECOND | {"mix_strategy": "interleave_over"},
    SECOND | {"mix_strategy": "interleave_under", "interleave_probs": "0.9,0.1"},
    SECOND | {"mix_strategy": "interleave_over", "interleave_probs": "0.3,0.7"},
    {"eval_dataset": "more", "eval_strategy": "epoch"},
], ids=str)
def test_steps_and_rows(both, changes):
    path = both(**changes)
    facts = check(path, max_cut=100).facts
    done = trained(path)
    assert facts["steps"] == done["steps"]
    if "train_rows" in done and not changes.get("streaming"):
        assert facts["train_rows"] == done["train_rows"]


STORED = [{}, {"packing": True}, {"neat_packing": True}, {"val_size": 5}, {"cutoff_len": 150},
          SECOND | {"mix_strategy": "interleave_over"},
          {"mask_history": True}]  # which changes nothing where each row is one turn


@pytest.mark.parametrize("changes", STORED, ids=str)
def test_stored_rows_of_this_very_yaml_are_no_mistake(both, tmp_path, changes):
    path = both(**changes, tokenized_path=str(tmp_path / "stored"), overwrite_output_dir=True)
    done = trained(path)
    report = check(path, max_cut=100)
    assert report.problems == [] and "stored_rows" in [f.code for f in report.findings]
    assert report.facts["train_rows"] == done["train_rows"] == trained(path)["train_rows"]


@pytest.mark.parametrize("changes", [
    *STORED[1:-1], {"dataset": "more"}, {"template": "empty"}, {"train_on_prompt": True},
    {"max_samples": 9}, {"num_samples": 50}], ids=str)
def test_stored_rows_of_other_data_or_another_template_are_told(both, tmp_path, changes):
    stored = {"tokenized_path": str(tmp_path / "stored"), "overwrite_output_dir": True}
    ids = trained(both(**stored))["ids"]
    path = both(**stored | {k: v for k, v in changes.items() if k != "num_samples"})
    if "num_samples" in changes:
        edit_entry(path, num_samples=50)
    found = [f for f in check(path, max_cut=100).problems if f.code == "stored_rows"]
    assert [f.level for f in found] == ["error"] and " 40 rows" in found[0].text
    assert trained(path)["ids"] == ids, "the YAML's sets are not looked at"


def test_stored_rows_whose_sets_are_gone_or_that_are_none(both, tmp_path):
    stored = tmp_path / "stored"
    path = both(tokenized_path=str(stored), overwrite_output_dir=True)
    ids = trained(path)["ids"]
    shutil.rmtree(tmp_path / "data")
    (found,) = check(path).problems
    assert (found.code, found.level) == ("stored_rows", "warning") and "not checked" in found.text
    assert trained(path)["ids"] == ids
    shutil.rmtree(stored)
    stored.mkdir()
    (stored / "notes.txt").touch()
    path = both(tokenized_path=str(stored), overwrite_output_dir=True)
    (found,) = check(path).problems
    assert found.code == "stored_rows" and "no stored rows that can be read" in found.text
    with pytest.raises(FileNotFoundError):
        trained(path)


def edit_entry(path: Path, **keys: object) -> None:
    info = Path(yaml.safe_load(path.read_text())["dataset_dir"]) / "dataset_info.json"
    entries = json.loads(info.read_text())
    entries["good"] |= keys
    info.write_text(json.dumps(entries))


@pytest.mark.parametrize(("number", "changes"), [
    (5, {}), (40, {}), (60, {}), (30, {"max_samples": 10}), (12, SECOND),
    (12, {"dataset": "more,good", "mix_strategy": "interleave_over"}),
    (9, {"val_size": 0.25}), (None, {"max_samples": 7})])
def test_rows_have_the_numbers_of_their_file(both, tmp_path, number, changes):
    """And those that num_samples draws are the ones that training draws."""
    path = both(**changes)
    edit_entry(path, num_samples=number)
    report = check(path, examples=200)
    rows = json.loads((tmp_path / "data" / "good.json").read_text())
    for example in report.examples:
        place = re.match(r"good row (\d+),", example.note)
        assert not place or rows[int(place[1])]["conversations"][0]["value"] in example.masked
    texts = {example.masked + example.trained for example in report.examples}
    from transformers import AutoTokenizer
    decode = AutoTokenizer.from_pretrained(
        yaml.safe_load(path.read_text())["model_name_or_path"]).decode
    done = trained(path)
    assert {decode(ids) for ids in done["ids"]} <= texts
    assert report.facts["train_rows"] == done["train_rows"]


def test_a_stream_takes_all_rows_whatever_num_samples_says(both):
    path = both(streaming=True, max_steps=3, dataloader_num_workers=1)
    edit_entry(path, num_samples=4)
    assert check(path).facts["train_rows"] == 40


@pytest.mark.parametrize(("setting", "says"), [
    ({"lora_alpha": 16.0}, None), ({"lora_alpha": 22.5}, None), ({"buffer_size": 64.0}, None),
    ({"ddp_timeout": 1.8e8}, None), ({"max_new_tokens": 16.0}, None),
    ({"lora_rank": 8.0}, "lora_rank: 8.0 is not a whole number"),
    ({"per_device_train_batch_size": 2.0}, "batch_size: 2.0"),
    ({"gradient_accumulation_steps": 2.0}, "steps: 2.0"), ({"max_steps": 2.0}, "max_steps: 2.0"),
    ({"max_samples": 1e1}, "max_samples: 10.0"), ({"cutoff_len": 150.0}, "cutoff_len: 150.0"),
    ({"seed": 42.0}, "seed: 42.0"), ({"learning_rate": "0.1"}, "learning_rate: '0.1'"),
    ({"lora_alpha": "16"}, "lora_alpha: '16'"), ({"num_train_epochs": "1"}, "epochs: '1'"),
    ({"lora_dropout": "0.1"}, "lora_dropout: '0.1'")], ids=str)
def test_numbers_are_taken_as_training_takes_them(both, setting, says):
    path = both(**{"max_steps": 2} | setting)
    if says:
        with pytest.raises(UserError, match=says):
            check(path, max_cut=100)
        with pytest.raises((TypeError, ValueError)):
            trained(path)
    else:
        assert codes(path) == []
        assert trained(path)["steps"] == 2


def test_packs_of_a_length_that_kills_training(both):
    path = both(packing=True, cutoff_len=300)
    (found,) = check(path).problems
    assert found.code == "pack_length" and found.text.endswith("cutoff_len: 304")
    with pytest.raises(RuntimeError, match="300"):
        trained(path)


def test_rows_that_llama_factory_drops_are_not_counted(both, tmp_path):
    path = both()
    file = tmp_path / "data" / "good.json"
    rows = json.loads(file.read_text())
    for number in (3, 11, 20):
        rows[number]["conversations"].reverse()
    file.write_text(json.dumps(rows))
    report = check(path)
    assert [f.code for f in report.problems] == ["bad_row"]
    assert report.facts["train_rows"] == trained(path)["train_rows"] == 37


def test_a_finished_run_makes_one_step_at_the_most_and_is_told(both, tmp_path):
    """Also with other data; and each piece of advice makes it train."""
    path = both(save_strategy="steps", save_steps=5, max_steps=5)
    assert codes(path) == []
    assert trained(path)["steps"] == 5
    path = both(save_strategy="steps", save_steps=5, max_steps=5, dataset="more")
    (found,) = check(path).problems
    assert found.code == "already_trained" and "overwrite_output_dir" in found.text
    done = trained(path)
    assert "at most one more step" in found.text
    assert done["start"] == 5 and done["steps"] <= 6, "the trainer looks after a step, if at all"
    for advice in ({"overwrite_output_dir": True}, {"output_dir": str(tmp_path / "other")}):
        path = both(save_strategy="no", max_steps=5, dataset="more", **advice)
        assert codes(path) == []
        done = trained(path)
        assert (done["start"], done["steps"]) == (0, 5)


def test_going_on_with_other_data_is_told(both):
    path = both(save_strategy="steps", save_steps=2, max_steps=4)
    trained(path)
    changed = both(save_strategy="no", num_train_epochs=2.0, dataset="more")
    assert codes(changed) == ["resume_differs"]
    assert trained(changed)["start"] == 4
    same = both(save_strategy="no", num_train_epochs=2.0, dataset="more",
                overwrite_output_dir=True)
    assert codes(same) == []


@pytest.mark.parametrize(("changes", "code", "dies"), [
    ({"lora_rank": 4}, "resume_other", RuntimeError),
    ({"lora_target": "q_proj"}, "resume_other", ValueError),
    ({"finetuning_type": "full"}, "resume_other", ValueError),
    ({"per_device_train_batch_size": 4}, "resume_batch", None),
])
def test_going_on_with_other_settings_is_told(both, changes, code, dies):
    path = both(save_strategy="steps", save_steps=2, max_steps=2)
    trained(path)
    path = both(save_strategy="no", **changes)
    report = check(path)
    assert code in [f.code for f in report.problems]
    if dies:
        with pytest.raises(dies):
            trained(path)
    else:
        assert trained(path)["steps"] == report.facts["steps"] == 10, "with the run's own batches"
    assert codes(both(save_strategy="no", overwrite_output_dir=True, **changes)) == []


def test_packing_is_for_sft_alone(both, tmp_path, write_rows):
    path = both(stage="dpo", dataset="pairs", packing=True, cutoff_len=1001)
    build([write_rows(tiny.rows(12), "third")], tmp_path / "data",
          SetSettings(name="pairs", pairs=True, prompt="eval_boxed"))
    assert codes(path) == []
    assert check(path).facts["steps"] == trained(path)["steps"] == 3


def test_an_adapter_that_goes_on_keeps_its_rank(both, tmp_path):
    trained(both(max_steps=1, lora_rank=2, lora_alpha=4, output_dir=str(tmp_path / "first")))
    path = both(max_steps=1, adapter_name_or_path=str(tmp_path / "first"), use_cpu=None)
    report = check(path)
    assert [f.code for f in report.problems] == ["adapter_keeps"]
    assert "Set lora_rank: 2" in report.problems[0].text
    assert codes(both(max_steps=1, adapter_name_or_path=str(tmp_path / "first"), lora_rank=2)) == []
    own = 2 * 2 * (64 + 48 + 48 + 64 + 3 * 96)  # as in the tests of the student
    assert report.facts["trained_parameters"] == own


def test_an_empty_stream_and_an_empty_set(both, tmp_path):
    path = both(streaming=True, max_steps=3, val_size=40, dataloader_num_workers=1)
    assert codes(path) == ["no_train_rows"]
    with pytest.raises(Exception):  # noqa: B017 - an empty StopIteration, whose cause is not told
        trained(path)
    (tmp_path / "data" / "good.json").write_text("[]")
    (found,) = check(both_yaml(path)).problems
    assert found.code == "bad_dataset"


def both_yaml(path: Path) -> Path:
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(settings | {"val_size": 0.0}))
    return path
