"""The real lmms-eval command: registration, whole runs, mistakes, kills."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from drp_plugin.errors import UserError

pytest.importorskip("lmms_eval")
pytestmark = pytest.mark.framework

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess]


def said(done: subprocess.CompletedProcess) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("drp: ")]


def results(folder: Path) -> dict:
    (file,) = folder.rglob("*_results.json")
    return json.loads(file.read_text())


def samples(folder: Path, task: str) -> list[dict]:
    (file,) = folder.rglob(f"*_samples_{task}.jsonl")
    return [json.loads(line) for line in file.read_text().split("\n") if line]


def test_lmms_eval_loads_us() -> None:
    """lmms-eval swallows what goes wrong here; this does not."""
    from lmms_eval.models import MODEL_REGISTRY_V2
    from lmms_eval.tasks import TaskManager

    from drp_plugin.evaluation import plugin

    names = {manifest.model_id for manifest in plugin.manifests()}
    assert names == {"drp_hf", "drp_vllm", "drp_student"}
    assert names <= set(MODEL_REGISTRY_V2.list_canonical_model_ids())
    for name in names:
        assert MODEL_REGISTRY_V2.get_model_class(name).is_simple is False
    assert MODEL_REGISTRY_V2.resolve("hf").model_id == "drp_student"
    plugin.manifests()  # again: no double wrap
    manager = TaskManager()
    ours = {name for name in manager.all_tasks if name.startswith("drp")}
    sets = ("gsm8k", "math500", "aime24", "amc23")
    kinds = ("", "_sampled", "_answer", "_tale", "_thinkprune", "_nothinking")
    assert {f"drp_{s}{k}" for s in sets for k in kinds} < ours
    assert {f"drp{k}" for k in kinds} | {"drp_tiny", "drp_tiny_ood"} < ours
    assert {"drp_guard", "drp_aime25", "drp_olympiad", "drp_minerva", "drp_gpqa"} < ours
    assert manager.task_index["drp"]["type"] == "group"
    assert "gsm8k" in manager.all_tasks  # what lmms-eval has itself is still there


@pytest.mark.parametrize("launcher", [
    ("-m", "lmms_eval"), ("-m", "lmms_eval.cli.dispatch_script"), ("torchrun",)])
def test_listed_without_a_flag(lmms_eval: Run, launcher: tuple[str, ...]) -> None:
    if launcher[0] == "torchrun":
        launcher = ("-m", "torch.distributed.run", "--nproc_per_node=1", "--master_port=29631",
                    "-m", "lmms_eval")
    elif launcher[1].endswith("script"):  # the console command
        launcher = ("-c", "import sys; sys.argv[0] = 'lmms-eval'; "
                    "from lmms_eval.cli.dispatch import main; main()")
    done = lmms_eval("--tasks", "list", launcher=launcher)
    assert " - drp_gsm8k\n" in done.stdout and " - drp\n" in done.stdout, done.stderr[-2000:]


def test_listed_from_a_wheel(lmms_eval: Run, tmp_path: Path) -> None:
    """The wheel alone, unpacked elsewhere, registers and finds its own YAML."""
    build = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d",
                            str(tmp_path / "dist")], cwd=ROOT, capture_output=True, text=True)
    assert build.returncode == 0, build.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    place = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(place)
    program = ("import sys; sys.path.insert(0, sys.argv.pop(1)); import drp_plugin; "
               "print('FROM', drp_plugin.__file__); sys.argv[0] = 'lmms-eval'; "
               "from lmms_eval.__main__ import cli_evaluate; cli_evaluate()")
    done = lmms_eval(str(place), "--tasks", "list", launcher=("-c", program))
    assert f"FROM {place}" in done.stdout
    assert " - drp_gsm8k\n" in done.stdout
    index = lmms_eval(str(place), launcher=("-c", (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import lmms_eval.models; "
        "from lmms_eval.tasks import TaskManager; "
        "print(TaskManager().task_index['drp_gsm8k']['yaml_path'])")))
    assert index.stdout.strip().splitlines()[-1].startswith(str(place)), index.stderr[-2000:]


def test_include_path(lmms_eval: Run, tmp_path: Path) -> None:
    """A task of one's own in a folder: the documented way, with our protocol changed in YAML."""
    from drp_plugin.resources import resource

    shutil.copytree(resource("lmms_eval_tasks"), tmp_path / "tasks")
    (tmp_path / "tasks" / "mine.yaml").write_text(
        "include: [_tiny, _base]\ntask: my_task\nprotocol: {questions: 'tiny:eval:steps2:3'}\n")
    done = lmms_eval("--tasks", "list", "--include_path", str(tmp_path / "tasks"))
    assert " - my_task\n" in done.stdout and " - drp_gsm8k\n" in done.stdout


def test_bare_command_without_weights(lmms_eval: Run) -> None:
    done = lmms_eval("--tasks", "drp_gsm8k,drp_aime24")
    assert done.returncode == 2, done.stdout[-2000:]
    (line,) = said(done)
    assert "DeepSeek-R1-Distill-Qwen-7B" in line and "--model_args pretrained=" in line


@pytest.mark.parametrize(("arguments", "line"), [
    (("--model", "drp_hf", "--model_args", "pretrained={m},max_tokens=3"),
     "drp_hf has no argument 'max_tokens'"),
    (("--model", "drp_hf"), "no model was given"),
    (("--model", "drp_hf", "--model_args", "pretrained={m},max_new_tokens=x"),
     "max_new_tokens=x must be a whole number"),
    (("--model_args", "pretrained=/nowhere/at/all"), "there is no folder /nowhere/at/all"),
    (("--model", "drp_hf", "--model_args", "pretrained={m}", "--gen_kwargs", "temprature=0.9"),
     "Did you mean 'temperature'?"),
    (("--model", "drp_hf", "--model_args", "pretrained={m}", "--gen_kwargs", "temperature=0.9"),
     "Add do_sample=True to --gen_kwargs"),
    (("--model", "drp_hf", "--model_args", "pretrained={m}", "--gen_kwargs",
      "temperature=hot,do_sample=True"), "temperature=hot must be a number"),
    (("--model", "drp_hf", "--model_args", "pretrained={m}", "--limit", "0"),
     "leave none of the 12 questions"),
    (("--model", "drp_hf", "--model_args", "pretrained={m}", "--offset", "12"),
     "leave none of the 12 questions"),
])
def test_mistakes_are_one_line(lmms_eval: Run, random_student: Path, sets: Path,
                               arguments: tuple[str, ...], line: str) -> None:
    done = lmms_eval("--tasks", "drp_gsm8k", "--limit", "1",
                     *(a.format(m=random_student) for a in arguments), DRP_DATA_DIR=str(sets))
    assert done.returncode == 2 and len(said(done)) == 1 and line in said(done)[0], done.stderr


def test_missing_data_is_one_line(lmms_eval: Run, random_student: Path, tmp_path: Path) -> None:
    done = lmms_eval("--model", "drp_hf", "--model_args", f"pretrained={random_student}",
                     "--tasks", "drp_gsm8k", DRP_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "gsm8k_test.jsonl: no such file" in said(done)[0]


def test_the_group_on_a_cpu(lmms_eval: Run, random_student: Path, sets: Path,
                            tmp_path: Path) -> None:
    """All four sets, by the default model, with results and samples; again from the ledger."""
    arguments = ("--model_args", f"pretrained={random_student},max_new_tokens=40", "--tasks",
                 "drp,drp_gsm8k_tale", "--limit", "3", "--log_samples", "--output_path")
    done = lmms_eval(*arguments, str(tmp_path), DRP_DATA_DIR=str(sets))
    assert done.returncode == 0, done.stderr[-3000:]
    found = results(tmp_path)["results"]
    for task in ("drp_gsm8k", "drp_math500", "drp_aime24", "drp_amc23"):
        assert 0 < found[task]["tokens,none"] <= 80
        rows = samples(tmp_path, task)
        assert len(rows) == 3
        for row in rows:
            one = row["drp"]["completions"][0]
            counts = row["token_counts"][0]
            # exact: what the model made, and the cap over the task's 131,072
            assert counts["output_tokens"] <= 41
            assert one["backend_tokens"] == counts["output_tokens"]
            assert row["drp"]["protocol"]["max_new_tokens"] == 40
    tale = samples(tmp_path, "drp_gsm8k_tale")
    assert found["drp_gsm8k_tale"]["first_round_tokens,none"] > 0
    assert all(len(row["filtered_resps"]) == 1 and row["token_counts"][0]["rounds"]
               for row in tale)
    ledger = tmp_path / "drp_completions.sqlite"
    assert ledger.is_file()


def test_killed_and_started_again(lmms_eval: Run, random_student: Path, sets: Path,
                                  tmp_path: Path) -> None:
    arguments = ["--model", "drp_hf", "--model_args",
                 f"pretrained={random_student},max_new_tokens=300,batch_size=1,workers=1",
                 "--tasks", "drp_math500_sampled", "--log_samples", "--output_path"]
    whole = lmms_eval(*arguments, str(tmp_path / "whole"), DRP_DATA_DIR=str(sets))
    assert whole.returncode == 0, whole.stderr[-3000:]
    assert _stored(tmp_path / "whole") == 48
    cut = tmp_path / "cut"
    environment = {**os.environ, "DRP_DATA_DIR": str(sets), "HF_HUB_OFFLINE": "1"}
    log = tmp_path / "cut.log"
    with log.open("w") as told:
        process = subprocess.Popen([sys.executable, "-m", "lmms_eval", *arguments, str(cut)],
                                   env=environment, stdout=told, stderr=told)
    deadline = time.monotonic() + 600
    while _stored(cut) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = _stored(cut)
    assert 4 <= kept < 48 and not list(cut.rglob("*_results.json")), log.read_text()[-3000:]
    again = lmms_eval(*arguments, str(cut), DRP_DATA_DIR=str(sets))
    assert again.returncode == 0, again.stderr[-3000:]
    assert _stored(cut) == 48
    first, second = (samples(tmp_path / name, "drp_math500_sampled") for name in ("whole", "cut"))
    assert [s["filtered_resps"] for s in first] == [s["filtered_resps"] for s in second]
    assert first == second


def _stored(folder: Path) -> int:
    try:
        name = f"file:{folder / 'drp_completions.sqlite'}?mode=ro"
        with sqlite3.connect(name, uri=True) as found:
            return int(found.execute("SELECT COUNT(*) FROM replies").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_two_processes_of_torchrun(lmms_eval: Run, random_student: Path, sets: Path,
                                   tmp_path: Path) -> None:
    """Each rank has half of the questions, both write to one ledger, rank 0 has the result."""
    arguments = ("--model", "drp_hf", "--model_args",
                 f"pretrained={random_student},max_new_tokens=20", "--tasks", "drp_gsm8k",
                 "--limit", "7", "--log_samples", "--output_path", str(tmp_path))
    done = lmms_eval(*arguments, DRP_DATA_DIR=str(sets), launcher=(
        "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29633", "-m",
        "lmms_eval"))
    assert done.returncode == 0, done.stderr[-3000:]
    rows = samples(tmp_path, "drp_gsm8k")
    assert sorted(row["doc_id"] for row in rows) == list(range(7))
    assert 7 <= _stored(tmp_path) <= 8


@pytest.mark.parametrize("change", [
    "del T.load_task_or_group", "del T._get_task_and_group",
    "T._get_task_and_group = lambda self, *_: 1 / 0"])
def test_a_changed_lmms_eval_goes_on_without_us(lmms_eval: Run, change: str) -> None:
    """What we wrap is gone, or fails: runs of other tasks go on, and one line says what to do."""
    done = lmms_eval(launcher=("-c", (
        "from lmms_eval.tasks import TaskManager as T\n"
        "T.initialize_tasks = lambda self, *_: {'theirs': 1}\n"
        f"{change}\n"
        "from drp_plugin.evaluation.lmms_private import add_tasks\n"
        "from drp_plugin.resources import resource\n"
        "add_tasks(resource('lmms_eval_tasks'))\n"
        "print('FOUND', T.initialize_tasks(T.__new__(T)))\n")))
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = said(done)
    assert "--include_path" in line and "0.7.3" in line
    assert "FOUND {'theirs': 1}" in done.stdout


def test_options_are_obeyed(lmms_eval: Run, random_student: Path, sets: Path,
                            tmp_path: Path) -> None:
    """Seed, system prompt, stop strings, offset, repeats and the chat template, in one run."""
    base = ("--model", "drp_hf", "--model_args", f"pretrained={random_student},max_new_tokens=30",
            "--tasks", "drp_math500_sampled", "--limit", "2", "--log_samples", "--output_path")
    found = {}
    for name, options in {
            "plain": ("--seed", "7", "-n", "2"),
            "all": ("--seed", "7", "-n", "2", "--apply_chat_template", "--system_instruction",
                    "Be apples.", "--offset", "2", "--gen_kwargs", 'until=["a"]'),
            "other": ("--seed", "8", "--gen_kwargs", "repeats=2")}.items():
        done = lmms_eval(*base, str(tmp_path / name), *options, DRP_DATA_DIR=str(sets))
        assert done.returncode == 0, (name, done.stderr[-3000:])
        found[name] = samples(tmp_path / name, "drp_math500_sampled")
    plain, every, other = (found[name] for name in ("plain", "all", "other"))
    assert [row["drp"]["run"]["seed"] for row in (plain[0], every[0], other[0])] == [7, 7, 8]
    assert all(len(row["drp"]["completions"]) == 2 for row in plain + every + other)
    assert plain[0]["filtered_resps"] != other[0]["filtered_resps"]
    assert [row["doc_id"] for row in every] == [2, 3]
    assert every[0]["drp"]["protocol"]["offset"] == 2
    assert every[0]["drp"]["protocol"]["system_instruction"] == "Be apples."
    assert not any("a" in text for row in every for text in row["filtered_resps"])
    assert plain[0]["drp"]["protocol"]["repeats"] == 2


def test_a_prompt_longer_than_the_context_is_a_row_that_is_cut_off(
        lmms_eval: Run, random_student: Path, tmp_path: Path) -> None:
    questions = [{"id": f"g-{i}", "question": "apples " * (2000 if i == 1 else 1), "answer": "1"}
                 for i in range(3)]
    (tmp_path / "gsm8k_test.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
    arguments = ("--model", "drp_hf", "--model_args",
                 f"pretrained={random_student},max_new_tokens=20", "--tasks", "drp_gsm8k",
                 "--log_samples", "--output_path")
    done = lmms_eval(*arguments, str(tmp_path / "out"), DRP_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1 of 3 prompts leaves no room in the context" in done.stderr
    assert "drp_gsm8k g-1" in done.stderr
    row = samples(tmp_path / "out", "drp_gsm8k")[1]["drp"]["completions"][0]
    assert row["truncated"] and not row["correct"] and row["tokens"] == 0
    (tmp_path / "gsm8k_test.jsonl").write_text(json.dumps(questions[1]) + "\n")
    done = lmms_eval(*arguments, str(tmp_path / "none"), DRP_DATA_DIR=str(tmp_path))
    assert done.returncode == 2 and "the model's context 1024" in said(done)[-1]
    assert "damaged" not in done.stderr


def _given(monkeypatch: pytest.MonkeyPatch, **config: object) -> argparse.Namespace:
    """lmms-eval's options after a file of --config gave these, as its own functions hold them."""
    from lmms_eval.__main__ import parse_eval_args

    from drp_plugin.evaluation.lmms_private import _check_options

    monkeypatch.setattr(sys, "argv", ["lmms-eval"])

    def cli_evaluate_single(args: argparse.Namespace) -> argparse.Namespace:
        _check_options()
        return args

    def cli_evaluate() -> argparse.Namespace:
        parser, args = parse_eval_args()
        for name, value in config.items():
            setattr(args, name, value)
        assert parser
        return cli_evaluate_single(args)

    return cli_evaluate()


@pytest.mark.parametrize(("seed", "four"), [
    (7, [7] * 4), ("7", [7] * 4), ([7], [7] * 4), (None, [None] * 4), (0, [0] * 4),
    ([1, None, 3, 4], [1, None, 3, 4]), ("1,2,3,none", [1, 2, 3, None])])
def test_a_seed_in_a_file_is_obeyed(seed: object, four: list, monkeypatch: pytest.MonkeyPatch
                                    ) -> None:
    assert _given(monkeypatch, seed=seed).seed == four


def test_a_file_says_the_same_as_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, found = (_given(monkeypatch, **config) for config in ({}, {
        "batch_size": 8, "limit": "5", "repeats": "2", "model_args": {"pretrained": "m", "n": 3},
        "gen_kwargs": {"do_sample": True, "temperature": 0.6, "until": ["a"]}, "log_samples": True,
        "include_path": ["one", "two"]}))
    assert {name: value for name, value in vars(found).items() if value != vars(plain)[name]} == {
        "batch_size": "8", "limit": 5.0, "repeats": 2, "model_args": "pretrained=m,n=3",
        "gen_kwargs": 'do_sample=true,temperature=0.6,until=["a"]', "log_samples": True,
        "include_path": ["one", "two"]}


@pytest.mark.parametrize(("config", "line"), [
    ({"check_integrity": True}, "--check_integrity runs lmms-eval's own test suite"),
    ({"seed": "x"}, "seed: x in the file of --config"), ({"seed": [1, 2]}, "seed: 1,2"),
    ({"limit": "two"}, "limit: two"), ({"repeats": 1.5}, "repeats: 1.5")])
def test_what_ends_in_lmms_eval_without_a_code_is_refused(
        config: dict, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=line):
        _given(monkeypatch, **config)


@pytest.mark.parametrize(("given", "line"), [("check_integrity: true\nseed: 7\n", "Leave it out"),
                                             ("seed: [1, 2]\n", "seed: 1,2"), ("seed: 7\n", "")])
def test_the_real_command_reads_a_file(lmms_eval: Run, random_student: Path, sets: Path,
                                       tmp_path: Path, given: str, line: str) -> None:
    (tmp_path / "c.yaml").write_text(
        f"model: drp_hf\nmodel_args: {{pretrained: {random_student}, max_new_tokens: 5}}\n"
        f"tasks: drp_gsm8k\nlimit: 2\nlog_samples: true\noutput_path: {tmp_path}\n{given}")
    done = lmms_eval("--config", str(tmp_path / "c.yaml"), DRP_DATA_DIR=str(sets))
    assert done.returncode == (2 if line else 0), done.stderr[-2000:]
    if line:
        assert len(said(done)) == 1 and line in said(done)[0]
    else:
        assert samples(tmp_path, "drp_gsm8k")[0]["drp"]["run"]["seed"] == 7
