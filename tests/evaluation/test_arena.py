"""The arena recipes: every entry has a command, and its prompt and protocol load."""

from __future__ import annotations

import itertools
import re
import shlex

import pytest
import yaml
from click.testing import CliRunner

from drp_plugin.cli import group
from drp_plugin.evaluation.task_protocol import Generation, Prompting, TaskProtocol
from drp_plugin.experiment.file import read_experiment
from drp_plugin.resources import resource

ARENAS = ("arena_7b", "arena_1_5b")
FILES = [resource("recipes") / f"{name}.yaml" for name in ARENAS]


def task(name: str) -> tuple[TaskProtocol, dict]:
    """Protocol and generation kwargs of a task's YAML, with what it includes."""
    folder = resource("lmms_eval_tasks")
    own = next(found for file in folder.glob("*.yaml")
               if (found := yaml.safe_load(file.read_text())).get("task") == name)
    whole: dict = {}
    for part in reversed(own["include"]):
        whole |= yaml.load((folder / part).read_text().replace("!function", ""), yaml.BaseLoader)
    values = {**own["protocol"], **whole.get("variant", {})}
    return TaskProtocol.parse(values, name), whole["generation_kwargs"]


@pytest.mark.parametrize("file", FILES, ids=ARENAS)
def test_every_entry_of_an_arena_loads(file) -> None:
    experiment = read_experiment(file)
    published = {n: m for n, m in experiment.methods.items() if m.checkpoint}
    assert len(published) >= 10 and {"Base", "DRP", "DLER", "AdaptThink"} <= set(experiment.methods)
    assert len({m.checkpoint for m in published.values()}) == len(published)
    for name, method in published.items():
        assert method.checkpoint.count("/") == 1 and method.source.startswith("https://"), name
        given = dict(pair.split("=", 1) for pair in
                     method.evaluate.get("gen_kwargs", "").split(",") if pair)
        for one in experiment.tasks:
            protocol, kwargs = task(one)
            prompt = given.get("prompt", protocol.prompt)
            prompting = Prompting(protocol.model_copy(update={"prompt": prompt}))
            prompting.system_instruction = method.evaluate.get("system_instruction")
            turns = prompting.first("What is 2 + 3?")
            assert turns[-1].role == "user" and "What is 2 + 3?" in turns[-1].content
            assert (len(turns) == 2) == ("system_instruction" in method.evaluate)
            drawn = Generation.read(
                {**kwargs, **{k: v for k, v in given.items() if k != "prompt"}}, "drp_vllm")
            assert drawn.temperature > 0 and drawn.max_new_tokens == 32_768, name


@pytest.mark.parametrize("file", FILES, ids=ARENAS)
def test_dry_run_prints_every_command(file) -> None:
    experiment = read_experiment(file)
    done = CliRunner().invoke(group, ["experiment", str(file), "--dry-run"])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if " lmms_eval " in line]
    assert len(lines) == len(experiment.methods)
    for method in filter(lambda m: m.checkpoint, experiment.methods.values()):
        (words,) = [words for words in map(shlex.split, lines)
                    if f"pretrained={method.checkpoint}" in re.split(r"[, ]", " ".join(words))]
        for name, value in method.evaluate.items():
            said = words[words.index(f"--{name}") + 1]
            if name == "model_args":
                revision = value["revision"]
                assert re.fullmatch("[0-9a-f]{40}", revision)
                assert f"revision={revision}" in said.split(",")
            else:
                assert said == value


def test_an_entry_that_says_nothing_of_its_prompt_says_so() -> None:
    """Where neither prompt nor sampling is given, the comment above has a source or a word."""
    for file in FILES:
        entries = file.read_text().split("methods:\n")[1].split("checkpoint: ")
        for before, after in itertools.pairwise(entries):
            comment = "".join(line for line in before.splitlines(True)[-6:]
                              if line.lstrip().startswith("#"))
            assert comment, after[:60]
            assert "unconfirmed" in comment or "Their" in comment or "README" in comment \
                or "card" in comment or "As " in comment, after[:60]
