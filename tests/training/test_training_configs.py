"""The shipped YAMLs: up to date, parsed by LLaMA-Factory, the paper's where they should be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from checkout import script
from click.testing import CliRunner

from drp_plugin.errors import UserError
from drp_plugin.resources import resource
from drp_plugin.training.workspace import init, own_student

CONFIGS = resource("llamafactory_configs")
TRAIN = sorted(str(p.relative_to(CONFIGS)) for p in CONFIGS.rglob("*.yaml")
               if p.parent.name not in ("export", "accelerate"))
EXPORT = sorted(str(p.relative_to(CONFIGS)) for p in CONFIGS.glob("export/*.yaml"))
ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> dict:
    return yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))


def test_files_are_what_the_script_writes():
    wanted = script("scripts/make_configs.py").files()
    assert {p.relative_to(CONFIGS) for p in wanted} == {
        p.relative_to(CONFIGS) for p in CONFIGS.rglob("*.yaml") if p.parent.name != "accelerate"}
    stale = [p.name for p, text in wanted.items() if p.read_text() != text]
    assert not stale, "run python scripts/make_configs.py"


@pytest.mark.parametrize("name", TRAIN + EXPORT)
def test_each_opens_with_a_command_that_names_it(name):
    text = (CONFIGS / name).read_text(encoding="utf-8")
    header = text.split("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    verb = "export" if name in EXPORT else "train|llamafactory.launcher"
    assert re.search(rf"(llamafactory-cli )?({verb}) llamafactory_configs/{re.escape(name)}",
                     header)


def test_appendix_b():
    """The paper's settings, to the letter."""
    for name, model in (("drp_qwen7b.yaml", "7B"), ("drp_qwen1_5b.yaml", "1.5B")):
        settings = load(name)
        assert settings["model_name_or_path"] == f"deepseek-ai/DeepSeek-R1-Distill-Qwen-{model}"
        assert {key: settings[key] for key in (
            "cutoff_len", "max_samples", "per_device_train_batch_size",
            "gradient_accumulation_steps", "learning_rate", "lr_scheduler_type", "bf16",
            "val_size", "eval_strategy", "eval_steps", "overwrite_cache",
            "preprocessing_num_workers", "num_train_epochs", "finetuning_type")} == {
            "cutoff_len": 4096, "max_samples": 8000, "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 4, "learning_rate": 3e-5, "lr_scheduler_type": "cosine",
            "bf16": True, "val_size": 0.05, "eval_strategy": "steps", "eval_steps": 300,
            "overwrite_cache": True, "preprocessing_num_workers": 8, "num_train_epochs": 3.0,
            "finetuning_type": "lora"}
        assert settings["template"] == "deepseekr1"


@pytest.mark.parametrize("name", [n for n in TRAIN if n.startswith(("scale/", "ablations/"))])
def test_variants_train_with_sixteen_rows_a_step(name):
    settings = load(name)
    gpus = {"torchrun_8gpu": 8, "multinode": 16, "qlora_24gb": 1}.get(Path(name).stem, 2)
    assert (settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
            * gpus) == 16


def exports_named_by(text: str) -> list[list[str]]:
    """The export commands of a file's head comment: the YAML, then its overrides."""
    head = re.sub(r"\\\n#", " ", text.split("\n\n")[0])
    return [line.split()[3:] for line in head.splitlines() if "llamafactory-cli export" in line]


@pytest.mark.parametrize("name", TRAIN)
def test_each_training_names_the_command_that_merges_what_it_trains(name):
    (yaml_path, *overrides), = exports_named_by((CONFIGS / name).read_text(encoding="utf-8"))
    trained, merge = load(name), yaml.safe_load((ROOT / yaml_path).read_text(encoding="utf-8"))
    merge |= dict(override.split("=", 1) for override in overrides)
    assert merge["model_name_or_path"] == trained["model_name_or_path"]
    assert merge["template"] == trained["template"]
    assert merge["adapter_name_or_path"] == trained["output_dir"]
    assert merge["export_dir"] == f"{trained['output_dir']}_merged"


def test_there_is_one_export_file_for_each_student():
    assert {Path(n).name for n in EXPORT} == {n for n in TRAIN if "/" not in n}
    for name in EXPORT:
        assert load(name)["adapter_name_or_path"] == load(Path(name).name)["output_dir"]


def test_cot_valve_is_one_chain():
    for student in ("qwen7b", "qwen1_5b"):
        for solution in range(4):
            settings = load(f"baselines/cot_valve_{student}_s{solution}.yaml")
            before = load(f"baselines/cot_valve_{student}_s{solution + 1}.yaml")
            assert settings["adapter_name_or_path"] == before["output_dir"]
            assert settings["model_name_or_path"] == before["model_name_or_path"]


@pytest.mark.framework
@pytest.mark.parametrize("name", TRAIN)
def test_llama_factory_parses_training_yamls(name, tmp_path):
    pytest.importorskip("llamafactory")
    from drp_plugin.training.preflight import files, findings, framework

    path = CONFIGS / name
    parsed = findings.Preflight(str(path))
    framework.parse(parsed, files.read_yaml(path, []), tmp_path)
    assert parsed.finetuning.stage == ("dpo" if "_dpo_" in name else "sft")
    assert parsed.finetuning.finetuning_type == "lora"
    plan = parsed.raw.get("deepspeed")
    if plan:
        assert json.loads((ROOT / plan).read_text())["zero_optimization"]["stage"] in (2, 3)


@pytest.mark.framework
@pytest.mark.parametrize("name", EXPORT)
def test_llama_factory_parses_export_yamls(name):
    pytest.importorskip("llamafactory")
    from llamafactory.hparams import get_infer_args

    from drp_plugin.training.preflight.framework import quiet

    with quiet():
        model, data, *_ = get_infer_args(load(name))
    assert model.export_dir and data.template == "deepseekr1"


def test_init_fills_in_every_path(tmp_path):
    work = tmp_path / "my work"  # spaces are the user's right
    written, kept = init(work, dataset_dir=tmp_path / "sets")
    assert kept == []
    assert len([p for p in written if p.suffix == ".yaml"]) == len(TRAIN) + len(EXPORT) + 4
    for path in written:
        if path.suffix != ".yaml" or path.parent.name in ("accelerate", "thinkprune"):
            continue
        settings = yaml.safe_load(path.read_text())
        shipped = yaml.safe_load((CONFIGS / path.relative_to(work)).read_text())
        assert settings.keys() == shipped.keys()
        for key, value in settings.items():
            if key == "dataset_dir":
                assert value == str(tmp_path / "sets")
            elif key in ("output_dir", "export_dir", "adapter_name_or_path", "deepspeed"):
                assert value == str(work / shipped[key].removeprefix("llamafactory_configs/"))
            elif key == "model_name_or_path" and "student" in str(shipped[key]):
                assert (Path(value) / "tokenizer.json").is_file()
            else:
                assert value == shipped[key], key
        assert "llamafactory_configs" not in path.read_text().replace(str(work), "")


@pytest.mark.parametrize("name", [
    "me/r1-qwen7b", "you/DeepSeek-R1-Distill-Qwen-7B-v2", "they/Llama-8B", "folders/qwen7b: 🎉 é"])
def test_a_student_is_written_by_its_whole_name(tmp_path, name):
    folder = tmp_path / name
    if name.startswith("folders"):
        folder.mkdir(parents=True)
        for file in ("config.json", "tokenizer_config.json"):
            (folder / file).write_text("{}")
        name = str(folder)
    written, _ = init(tmp_path / "w", student=own_student(name, "deepseekr1"))
    named = 0
    for path in written:
        text = path.read_text()
        assert "deepseek-ai/" not in text or path.suffix != ".yaml", path
        settings = yaml.safe_load(text) if path.suffix == ".yaml" else {}
        for key in ("model_name_or_path", "model"):
            assert settings.get(key, name) == name, path
            named += key in settings
    assert named > 10


@pytest.mark.parametrize("name", ["a/b c", "a/b@main", "a/🎉", "a/b: c", "a/b\n", "a/\x1b[31m"])
def test_what_is_no_models_name_is_refused(name):
    with pytest.raises(UserError, match=r"is no name to call files by.* Give a model's folder"):
        own_student(name, "deepseekr1")


def test_init_in_a_folder_that_is_named_like_ours(tmp_path):
    work = tmp_path / "recipes" / "llamafactory_configs" / "w"
    init(work)
    settings = yaml.safe_load((work / "scale" / "deepspeed_zero2.yaml").read_text())
    assert settings["dataset_dir"] == str(work / "data")
    assert settings["deepspeed"] == str(work / "deepspeed" / "zero2.json")
    assert Path(settings["output_dir"]).is_relative_to(work)


def test_init_writes_the_thinkprune_recipes(tmp_path):
    init(tmp_path / "w")
    path = tmp_path / "w" / "thinkprune" / "tiny.yaml"
    config = script("recipes/thinkprune/settings.py").read_config(path, [])
    assert (Path(config.model) / "tokenizer.json").is_file()
    assert config.output_dir == str(tmp_path / "w" / "saves" / "thinkprune_tiny")
    assert "recipes/" not in path.read_text()
    # what its head comment names is there, and is run from inside the workspace
    done = subprocess.run([sys.executable, "thinkprune/train.py", "thinkprune/tiny.yaml",
                           "steps=none"], cwd=tmp_path / "w", capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("drp: thinkprune/tiny.yaml: field")


def test_init_takes_local_models_and_leaves_edited_files_alone(tmp_path):
    from drp_plugin.cli.sets import init as command

    local = tmp_path / "models" / "DeepSeek-R1-Distill-Qwen-7B"
    local.mkdir(parents=True)
    arguments = [str(tmp_path / "w"), "--models", str(tmp_path / "models")]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    path = tmp_path / "w" / "drp_qwen7b.yaml"
    assert yaml.safe_load(path.read_text())["model_name_or_path"] == str(local)
    small = yaml.safe_load((tmp_path / "w" / "drp_qwen1_5b.yaml").read_text())
    assert small["model_name_or_path"].startswith("deepseek-ai/")
    assert CliRunner().invoke(command, arguments).stderr.startswith(
        f"0 files written in {tmp_path / 'w'}; the rest is there already\n")
    path.write_text("mine: true\n")
    done = CliRunner().invoke(command, arguments)
    assert f"; 1 with other contents was kept, {path}: --force replaces it" in done.stderr
    done = CliRunner().invoke(command, [*arguments, "--dataset-dir", str(tmp_path / "other")])
    assert "with other contents were kept" in done.stderr, "they still name the other folder"
    assert path.read_text() == "mine: true\n"
    CliRunner().invoke(command, [*arguments, "--force"])
    assert path.read_text() != "mine: true\n"
