"""From the file to the commands."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from checkout import script
from click.testing import CliRunner

from drp_plugin.cli import group
from drp_plugin.errors import UserError
from drp_plugin.experiment.file import read_experiment
from drp_plugin.experiment.plan import flags, make_plan
from drp_plugin.experiment.stage_runner import choose
from drp_plugin.experiment.stages import project
from drp_plugin.grading import extract
from drp_plugin.resources import resource, table

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


def test_rounds_may_differ(tmp_path):
    """The pruned student samples anew, and its own shortest are what the student learns."""
    stages = plan(tmp_path, seeds=[1, 2], methods={"Own": {
        "prune": {"teacher": "openai:gpt-4o"}, "train": {"learning_rate": 0.5}, "rounds": [
            {}, {"generate": {"samples": 4}, "prune": {"teacher": "shortest-correct"},
                 "train": {"num_train_epochs": 1.0}}]}})
    sampled, pruned = commands(stages, "generate"), commands(stages, "prune")
    assert len(sampled) == 3 and "--samples 2" in sampled[0] and "--adapter" not in sampled[0]
    assert all("--samples 4" in c and "--adapter" in c for c in sampled[1:])
    assert [c.split("--teacher ")[1].split()[0] for c in pruned] == [
        "openai:gpt-4o", "shortest-correct", "shortest-correct"]
    trained = commands(stages, "train")
    assert ["num_train_epochs=1.0" in c for c in trained] == [False, True] * 2
    assert all("learning_rate=0.5" in c and "adapter_name_or_path" not in c for c in trained)
    assert not any(s.still for s in stages), "a round of another kind is always run"
    report = commands(stages, "report")[0]
    assert report.count("'Own r1=") == report.count("'Own r2=") == 2


def test_draws_measure_everything_once_for_each_seed_and_train_once(tmp_path):
    stages = plan(tmp_path, seeds=[1], draws=[5, 6])
    measured = commands(stages, "evaluate")
    assert len(measured) == 2 * 4 and len(commands(stages, "train")) == 2
    assert sum("--seed 5" in c for c in measured) == sum("--seed 6" in c for c in measured) == 4
    assert commands(stages, "report")[0].count(" Base=") == 2


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
    ({"methods": {"A": {"rounds": 2}}}, "trains nothing"),
    ({"methods": {"A": {"prune": {"teacher": "offline"}, "rounds": 0}}}, "rounds"),
    ({"methods": {"A": {"prune": {"teacher": "offline"}, "rounds": [{"teacher": "x"}]}}}, "rounds"),
    ({"methods": {"A": {"prune": {"teacher": "offline"}, "chain": [{"generate": {"samples": 2}}]}}},
     "samples once"),
    ({"methods": {"A": {"mix": ["B"]}, "B": {}}}, "mixes 'B'"),
    ({"methods": {"A": {"mix": ["A"]}}}, "mixes 'A'"),
    ({"methods": {"A": {"mix": ["C"]}, "C": {"prune": {"teacher": "offline"}, "rounds": 2}}},
     "mixes 'C'"),
    ({"methods": {"A": {"mix": ["C"], "rounds": 2}, "C": {"prune": {"teacher": "offline"}}}},
     "mixes 'C'"),
    ({"metods": {}}, "'metods' is unknown. Did you mean 'methods'"),
    ({"methods": {"A": {"pruen": {}}}}, "unknown. Did you mean 'prune'"),
    ({"methods": []}, "'methods' is no mapping"), ({"methods": {}}, "'methods' is empty"),
    ({"tasks": "drp_tiny"}, "'tasks' is no list"), ({"tasks": []}, "'tasks' is empty"),
    ({"tasks": ["drp_tyni"]}, "drp_tyni is none of .*Did you mean 'drp_tiny'"),
    ({"methods": {"A": {"tasks": "talle"}}}, "drp_tiny_talle is none .*mean 'drp_tiny_tale'"),
    ({"seeds": 42}, "'seeds' is no list"), ({"seeds": []}, "'seeds' is empty"),
    ({"seeds": [1, 2, 1]}, "seeds 1, 2, 1: each may stand there once"),
    ({"draws": [3, 3]}, "draws 3, 3: each"), ({"seeds": [-1]}, "seeds.0.*greater than or equal"),
    ({"draws": [2 ** 32]}, "draws.0.*less than"), ({"rows": 0}, "rows.*greater"),
    ({"seeds": [1.5]}, "seeds.0' is no whole number"),
    ({"hardware": {"tflops": 0}}, "tflops.*greater"),
    ({"methods": {"A": {"prune": {"teacher": "offline"}, "rounds": "two"}}},
     "rounds.*no list"),
    ({"methods": {"A": {"prune": {"teacher": "offline"}, "rounds": []}}}, "rounds.*empty"),
    ({"methods": {"A=1": {}}}, "'A=1': a name has no ="),
    ({"train": {"output_dir": "x"}}, "train holds output_dir"),
    ({"methods": {"A": {"train": {"seed": 3}}}}, "train holds seed")])
def test_mistakes_are_one_line_that_names_the_key(tmp_path, changes, said):
    with pytest.raises(UserError, match=said) as caught:
        plan(tmp_path, **changes)
    assert "\n" not in str(caught.value) and "e.yaml" in str(caught.value)


def test_methods_may_be_written_in_short_and_named_oddly(tmp_path):
    stages = plan(tmp_path, seeds=[1], methods={
        "Base": None, "..": {"prune": {"teacher": "offline"}}, "R": {"recipe": "python"}})
    out = tmp_path / "out"
    assert all(out in path.resolve().parents for s in stages for path in s.outputs)
    assert commands(stages, "evaluate")[0].count("pretrained=") == 1
    assert any(s.title.endswith(": python") for s in stages)


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


@pytest.mark.parametrize(("changes", "rows"), [
    ({}, 20),
    ({"build": {"size": 8}}, 8), ({"build": {"size": 8000}}, 20),
    ({"questions": ["tiny:sft:steps2:20", "tiny:sft:steps3:20"]}, 40),  # a set of both
    ({"questions": ["tiny:sft:steps2:20", "tiny:sft:steps3:20"], "build": {"size": 30}}, 30),
    ({"build": {"size": 8}, "train": {"max_samples": 5}}, 5),
    ({"build": {"size": 8}, "train": {"max_samples": None}}, 8),
    ({"build": {"size": 8}, "methods": {"DRP": {
        "prune": {"teacher": "offline"}, "build": {"size": 6}}}}, 6)])
def test_a_training_is_projected_over_the_rows_of_its_set(tmp_path, changes, rows):
    stages = plan(tmp_path, **changes)
    costs = [project(stage, read_experiment(tmp_path / "e.yaml"), stages)
             for stage in stages if stage.kind == "train"]
    assert costs and all(f"{rows * 1250:,} tokens" in cost.formula for cost in costs)


R1_SMALL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"


def test_options_of_the_evaluation_are_written_as_lmms_eval_takes_them(tmp_path):
    given = {"model": "drp_hf", "trust_remote_code": True, "show_config": False, "limit": None,
             "batch_size": 4, "gen_kwargs": {"temperature": 0.7, "repeats": 8}}
    (command,) = commands(plan(tmp_path, evaluate=given, methods={"Base": {
        "evaluate": {"model_args": {"device": "cpu", "threads": 2}}}}), "evaluate")
    assert "--trust_remote_code --batch_size 4" in command
    assert "--gen_kwargs temperature=0.7,repeats=8" in command
    assert ",device=cpu,threads=2 --tasks" in command
    assert not any(word in command for word in ("show_config", "limit", "True", "None"))


@pytest.mark.parametrize(("model", "tasks", "evaluate", "formula"), [
    (R1_SMALL, ["drp_gsm8k"], {}, "1,319 × 1 × 1,443"),
    ("/weights/mine", ["drp_gsm8k"], {}, "1,319 × 1 × 917"),  # the paper's 7B student
    (R1_SMALL, ["drp_aime25_sampled", "drp_math500_sampled"], {},
     "30 × 64 × 10,484 + 500 × 4 × 3,276"),
    (R1_SMALL, ["drp_aime24_sampled"], {"gen_kwargs": {"prompt": "eval_plain", "repeats": 8}},
     "30 × 8 × 10,484"),
    (R1_SMALL, ["drp_aime24"], {"gen_kwargs": "top_p=0.9,repeats=4"}, "30 × 4 × 10,484"),
    (R1_SMALL, ["drp_amc23"], {"num_samples": 2}, "40 × 2 × 6,516"),
    (R1_SMALL, ["drp_amc23_tale"], {"num_samples": 2}, "40 × 2 × 6,516"),
    ("7B", ["drp_sampled"], {},
     "1,319 × 1 × 917 + 500 × 4 × 2,486 + 30 × 64 × 8,674 + 40 × 64 × 4,845"),
    ("7B", ["drp_guard"], {},
     "30 × 1 × 8,674 + 674 × 1 × 4,845 + 272 × 1 × 2,486 + 198 × 1 × 4,845"),
    (R1_SMALL, ["mine", "drp_tiny"], {}, None),  # of unknown size: no figure
])
def test_an_evaluation_is_projected_from_its_sets(tmp_path, model, tasks, evaluate, formula):
    students = {"s": {"model": model, "config": "drp_tiny.yaml", "parameters": 1.8}}
    stages = plan(tmp_path, students=students, tasks=tasks, methods={"Base": {}},
                  evaluate={"model": "drp_vllm", **evaluate})
    found = project(next(s for s in stages if s.kind == "evaluate"),
                    read_experiment(tmp_path / "e.yaml"), stages)
    assert found.formula == (f"{formula} tokens / 2,500 tokens/s" if formula else "")
    assert (found.gpu_hours is None) == (formula is None)


def test_what_is_projected_is_what_the_tasks_ask():
    known, paper = table("projection.yaml"), table("paper_results.json")
    assert {f"{name}_test" for name in known["sets"]} == {
        name for name in table("question_sets.yaml") if name.endswith("_test")}
    for name, told in known["sets"].items():
        sampled = resource("lmms_eval_tasks") / f"{name}_sampled.yaml"
        repeats = sampled.is_file() and yaml.safe_load(sampled.read_text()).get("repeats", 1)
        assert told.get("sampled", False) == repeats, name
        if f"drp_{name}" in paper["tasks"]:
            column = paper["tasks"].index(f"drp_{name}") + 1
            for size in ("1.5B", "7B"):
                base = paper["table1"][f"R1-Distill-Qwen-{size}"][0]
                assert told[size] == base[column][1]
    for group_name, names in known["groups"].items():
        file = resource("lmms_eval_tasks") / f"{group_name}.yaml"
        assert yaml.safe_load(file.read_text())["task"] == [f"drp_{name}" for name in names]


def test_an_arena_projects_every_measurement():
    told = CliRunner().invoke(group, ["experiment", "arena_1_5b", "--dry-run"]).output
    asked = told.count("-m lmms_eval") + told.count("drp_plugin generate")
    assert told.count("tokens / 2,500 tokens/s") == asked > 10


def test_a_command_of_its_own_makes_a_methods_rows(tmp_path):
    stages = plan(tmp_path, seeds=[1], methods={"Solved": {
        "rows_by": "python {recipes}/tiny/solve.py {questions} -o {out}"}})
    made = next(s for s in stages if s.kind == "prune")
    assert made.command[2:4] == ("tiny:sft:steps2:20", "-o") and made.command[0].endswith("python")
    assert str(made.outputs[0]) in commands(stages, "build")[-2]
    assert not commands(stages, "generate"), "nobody samples for it"
    with pytest.raises(UserError, match="unknown place 'quetsions'"):
        plan(tmp_path, methods={"Solved": {"rows_by": "python x {quetsions}"}})


def test_a_mix_is_built_from_what_other_methods_made(tmp_path):
    methods = {**SMALL["methods"], "Both": {"mix": ["DRP", "Earliest"]}}
    stages = plan(tmp_path, methods=methods, seeds=[1])
    assert len(commands(stages, "prune")) == 2, "nothing is pruned anew for it"
    built = next(s for s in stages if s.name.endswith("drp_both"))
    made = [s for s in stages if s.kind == "prune"]
    assert [str(s.outputs[0].parent) in built.command for s in made] == [True, True]
    assert set(built.needs) == {s.name for s in made}
    chosen = {s.name for s in choose(stages, only=("Both",))}
    assert {s.name for s in made} < chosen and not any("train/drp" in name for name in chosen)


def test_a_base_gives_what_a_file_leaves_out(tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({
        "base": "e.yaml", "seeds": [7], "generate": {"temperature": 1.0},
        "methods": {"Earliest": {"train": {"seed": 3}}}}))
    plan(tmp_path)
    experiment = read_experiment(tmp_path / "small.yaml")
    assert experiment.seeds == (7,) and experiment.generate == {"samples": 2, "temperature": 1.0}
    assert list(experiment.methods) == list(SMALL["methods"])
    assert experiment.methods["Earliest"].train == {"num_train_epochs": 2.0, "seed": 3}
    assert read_experiment(Path("paper_smoke")).methods.keys() == read_experiment(
        Path("paper_tiny")).methods.keys()
    (tmp_path / "round.yaml").write_text("base: round.yaml\n")
    with pytest.raises(UserError, match="no other experiment"):
        read_experiment(tmp_path / "round.yaml")


def test_what_is_trained_on_is_compared_with_what_is_measured(tmp_path):
    built = next(c for c in commands(plan(tmp_path), "build") if "drp_plugin build" in c)
    assert built.endswith("--test-set drp_tiny")
    built = commands(plan(tmp_path, build={"test_set": []}), "build")
    assert not any("--test-set" in c for c in built)


def test_the_student_can_judge_its_own_steps(tmp_path):
    stages = plan(tmp_path, methods={"P": {"prune": {"teacher": "perplexity:{student}@0.5"}}})
    assert "/model@0.5" in commands(stages, "prune")[0]


def test_the_toys_problems_are_solved_in_a_teachers_place(tmp_path):
    solve = script("recipes/tiny/solve.py")
    made = list(solve.rows("tiny:sft:steps2+steps3+steps4:900"))
    assert len(made) == 900 and {row["teacher"] for row in made} == {"stand-in:rules-of-the-toy"}
    for row in made:
        assert extract(row["response"]).text == row["answer"]
    with pytest.raises(ValueError):
        solve.solve("Ann paints 3 walls. A dog eats 2 bones. Find how many walls Ann paints.")
