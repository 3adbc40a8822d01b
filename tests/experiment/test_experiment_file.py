"""From the file to the commands."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from drp_plugin.cli import group
from drp_plugin.errors import UserError
from drp_plugin.experiment.file import read_experiment
from drp_plugin.experiment.plan import flags, make_plan
from drp_plugin.experiment.stage_runner import choose

SMALL = {
    "students": {"tiny": {"model": "tiny", "config": "drp_tiny.yaml", "parameters": 0.001}},
    "questions": ["tiny:sft:steps2:20"], "rows": 20, "tasks": ["drp_tiny"],
    "generate": {"samples": 2}, "evaluate": {"model": "drp_hf"}, "seeds": [1, 2],
    "methods": {"Base": {}, "TALE": {"tasks": "tale"},
                "DRP": {"prune": {"teacher": "openai:gpt-4o", "batch": True}},
                "Earliest": {"prune": {"teacher": "earliest-correct"},
                             "train": {"num_train_epochs": 2.0}}}}


def plan(tmp_path: Path, **changes: object):
    file = tmp_path / "e.yaml"
    file.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
    return make_plan(read_experiment(file), tmp_path / "out")


def commands(stages, kind: str) -> list[str]:
    return [shlex.join(s.command) for s in stages if s.kind == kind]


def test_methods_share_what_they_can_and_every_seed_is_trained_and_measured(tmp_path):
    stages = plan(tmp_path)
    assert len(commands(stages, "generate")) == 1, "sampled once for both methods"
    assert len(commands(stages, "prune")) == 2 and len(commands(stages, "train")) == 4
    measured = commands(stages, "evaluate")
    assert len(measured) == 2 + 2 * 2
    assert "--tasks drp_tiny_tale" in measured[1] and "peft=" in measured[2]
    assert "num_train_epochs=2.0" in commands(stages, "train")[-1]
    report = commands(stages, "report")[0]
    assert report.count(" DRP=") == 2 and report.count(" Base=") == 1
    names = [s.name for s in stages]
    assert len(set(names)) == len(names)
    for stage in stages:
        assert all(names.index(need) < names.index(stage.name) for need in stage.needs)


def test_options_are_written_as_a_person_would():
    assert flags({"max_new_tokens": 5, "batch": True, "check_numbers": False,
                  "extra": ["a=1", "b=2"], "top_p": None}) == [
        "--max-new-tokens", "5", "--batch", "--no-check-numbers", "--extra", "a=1",
        "--extra", "b=2"]


def test_a_chain_goes_on_with_the_same_adapter_and_rounds_sample_with_the_newest(tmp_path):
    stages = plan(tmp_path, seeds=[1], methods={
        "CoT-Valve+P": {"prune": {"teacher": "offline"}, "chain": [{}, {"train": {"seed": 9}}]},
        "Rounds": {"prune": {"teacher": "offline"}, "rounds": 3}})
    chain = [c for c in commands(stages, "train") if "cot-valve" in c]
    assert "adapter_name_or_path" not in chain[0]
    first = next(w for w in shlex.split(chain[0]) if w.startswith("output_dir="))
    assert first.replace("output_dir", "adapter_name_or_path") in chain[1] and "seed=9" in chain[1]
    sampled = commands(stages, "generate")
    assert len(sampled) == 3 and sum("--adapter" in c for c in sampled) == 2
    last = next(s for s in stages if s.kind == "train" and "r3" in s.name)
    assert len(last.still) == 2, "the third round waits for what the first two came to"


def test_launchers_start_stages_elsewhere(tmp_path):
    stages = plan(tmp_path, launcher={"train": {"prefix": "srun --gres=gpu:2", "env": "/envs/t"}})
    assert all(c.startswith("srun --gres=gpu:2 /envs/t/bin/llamafactory-cli train")
               for c in commands(stages, "train"))


def test_published_checkpoints_are_measured_and_recipes_run(tmp_path):
    stages = plan(tmp_path, seeds=[3], methods={
        "DLER": {"checkpoint": "nvidia/DLER-R1-7B-Research"},
        "ThinkPrune": {"recipe": "python {recipes}/thinkprune/train.py out={out} seed={seed}"}})
    assert not commands(stages, "train") and not commands(stages, "generate")
    assert "pretrained=nvidia/DLER-R1-7B-Research" in commands(stages, "evaluate")[0]
    assert "seed=3" in commands(stages, "recipe")[0]


@pytest.mark.parametrize(("changes", "said"), [
    ({"seeds": "many"}, "seeds"), ({"metods": {}}, "metods"), ({"questions": []}, "questions"),
    ({"methods": {"A": {"prune": {}}}}, "names no teacher"),
    ({"methods": {"A b": {}, "a-b": {}}}, "share a folder"),
    ({"methods": {"A": {"prune": {"teacher": "offline"}, "checkpoint": "x"}}},
     "prune and checkpoint"),
    ({"methods": {"A": {"rounds": 2}}}, "trains nothing")])
def test_mistakes_are_one_line_that_names_the_key(tmp_path, changes, said):
    with pytest.raises(UserError, match=said) as caught:
        plan(tmp_path, **changes)
    assert "\n" not in str(caught.value) and "e.yaml" in str(caught.value)


def test_only_and_until_take_what_they_stand_on(tmp_path):
    stages = choose(plan(tmp_path), only=("DRP",), until="build")
    assert {s.kind for s in stages} == {"generate", "prune", "build"}
    assert not any("Earliest" in s.title for s in stages)
    with pytest.raises(UserError, match="no such method"):
        choose(plan(tmp_path), only=("Nope",))


def test_dry_run_prints_every_command_and_what_it_will_cost(tmp_path):
    plan(tmp_path)
    done = CliRunner().invoke(group, ["experiment", str(tmp_path / "e.yaml"), "--dry-run", "-o",
                                      str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0 and not (tmp_path / "out").exists()
    assert "drp_plugin prune" in done.output and "about $" in done.output
    assert "(batch)" in done.output and "GPU hours" in done.output
