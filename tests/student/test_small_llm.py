"""A real small LLM that does not think, as one's own student: from its traces to a merged model.

It is too small to be right: what is tested is that each stage takes it, and says what it sees.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from drp_plugin.cli import main
from drp_plugin.tokens import QWEN_VARIABLE

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

QUESTIONS = [{"id": f"q{n}", "question": f"What is {n} plus 2?", "answer": str(n + 2)}
             for n in range(1, 7)]
QUICK = ("max_steps=2", "cutoff_len=512", "per_device_train_batch_size=1", "bf16=false",
         "gradient_accumulation_steps=1", "use_cpu=true", "logging_steps=1", "save_strategy='no'",
         "eval_strategy='no'", "val_size=0", "preprocessing_num_workers=1", "plot_loss=false")
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
Drp = Callable[..., str]


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def drp(capfd: pytest.CaptureFixture[str]) -> Drp:
    """Runs `drp …` in this process; returns all that it printed."""
    def run(*arguments: object, code: int = 0) -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        said = "".join(capfd.readouterr())
        assert ended.value.code == code, said
        return said
    return run


def test_a_student_that_does_not_think_is_said_to(small_llm: Path, tmp_path: Path,
                                                  drp: Drp) -> None:
    questions, traces = tmp_path / "q.jsonl", tmp_path / "traces.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    said = drp("generate", questions, "-o", traces, "--backend", "hf", "--model", small_llm,
               "--temperature", 0, "--max-new-tokens", 24)
    assert "the student does not think" in said
    ends = {row["id"]: row["finish"] for row in written(traces)}
    assert set(ends.values()) == {"stop", "length"}, "else it is no test of both"

    said = drp("score", traces, "-o", tmp_path / "s.jsonl", "--tokenizer", small_llm)
    assert re.search(r"ended by (itself|themselves) without </think>: ", said)
    for row in written(tmp_path / "s.jsonl"):
        assert row["truncated"] is (ends[row["id"]] == "length") and not row["correct"]
        assert row["tokens"] == row["think_tokens"] or ends[row["id"]] == "stop"
    said = drp("score", traces, "-o", tmp_path / "n.jsonl", "--tokenizer", small_llm,
               "--no-thinking")
    assert "</think>" not in said
    for row in written(tmp_path / "n.jsonl"):
        assert row["think_tokens"] == 0 and row["answer_tokens"] == row["tokens"] > 0
        assert row["truncated"] is (ends[row["id"]] == "length")
        assert not (row["truncated"] and row["correct"]), "a cut completion is never right"
    assert any(row["correct"] for row in written(tmp_path / "n.jsonl"))

    drp("prune", traces, "-o", tmp_path / "run", "--teacher", "offline", code=2)
    reasons = {row["id"]: row["reason"] for row in written(tmp_path / "run" / "rejects.jsonl")}
    assert reasons == {name: "no_thinking" if end == "stop" else "no_think_end"
                       for name, end in ends.items()}


def thought(number: int) -> dict[str, str]:
    """A trace with thinking, as another student of these questions would have it."""
    total = number + 2
    text = (f"Okay, I need to add {number} and 2. {number} + 2 = {total}.\n\nWait, let me check "
            f"that. {number} + 2 = {total}, yes.\n\nHmm, so the sum is {total}.")
    return {"id": f"t{number}", "question": f"What is {number} plus 2?", "answer": str(total),
            "response": f"<think>\n{text}\n</think>\n\nThe sum is \\boxed{{{total}}}."}


def llama_factory(*arguments: str, cwd: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("llamafactory-cli")), *arguments], cwd=cwd,
        capture_output=True, text=True, timeout=800,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


def test_build_check_train_and_export(small_llm: Path, place: Path, drp: Drp) -> None:
    traces = place / "traces.jsonl"
    traces.write_text("".join(json.dumps(thought(n)) + "\n" for n in range(3, 23)))
    drp("prune", traces, "-o", place / "run", "--teacher", "offline", "--strict",
        "--tokenizer", small_llm)
    said = drp("init", place / "work", "--student", small_llm, "--template", "smollm2")
    assert "drp_smollm2_135m_instruct_1.yaml" in said
    config = "drp_smollm2_135m_instruct_1.yaml"
    name = yaml.safe_load((place / "work" / config).read_text())["dataset"]
    built = ("build", place / "run", "-o", place / "work" / "data", "--name", name, "--template",
             "smollm2", "--tokenizer", small_llm, "--prompt", "eval_boxed", "--cutoff-len")
    drp(*built, 512)
    said = drp("check", place / "work" / config, *QUICK, code=1)
    assert "no token <think>" in said
    # LLaMA-Factory's system prompt ends with a full stop that the model's has not
    assert "prompt_differs" in said and "set default_system" in said
    with (place / "work" / config).open("a") as file:
        file.write(f"default_system: {SYSTEM}\n")
    said = drp("check", place / "work" / config, *QUICK, "--strict", "--json")
    longest = json.loads(said[said.index("{"):said.rindex("}") + 1])["facts"]["tokens_max"]
    # a cutoff that cuts some rows: the advice, followed, leaves nothing to say
    said = drp("check", place / "work" / config, *QUICK, f"cutoff_len={longest - 1}", code=1)
    assert "cut_rows" in said and "--template smollm2" in said
    drp(*built, longest - 1, "--replace")
    drp("check", place / "work" / config, *QUICK, f"cutoff_len={longest - 1}", "--strict")

    llama_factory("train", config, *QUICK, cwd=place / "work")
    adapter = place / "work" / "saves" / Path(config).stem
    losses = [row["loss"] for row in written(adapter / "trainer_log.jsonl") if "loss" in row]
    assert len(losses) == 2 and all(0 < loss < 20 for loss in losses)
    llama_factory("export", f"export/{config}", cwd=place / "work")
    merged = place / "work" / "saves" / f"{Path(config).stem}_merged"
    assert (merged / "config.json").is_file()
    both = [json.loads((folder / "tokenizer.json").read_text())["model"]
            for folder in (small_llm, merged)]
    assert both[0]["vocab"] == both[1]["vocab"]


@pytest.mark.parametrize("model", ["drp_hf", "drp_vllm"])
def test_both_models_evaluate_its_adapter(small_llm: Path, place: Path, tmp_path: Path,
                                          model: str, request: pytest.FixtureRequest) -> None:
    """By the protocol's tokenizer where it can be had, else by its own, which one line says."""
    pytest.importorskip("lmms_eval")
    adapter = place / "work" / "saves" / "drp_smollm2_135m_instruct_1"
    if not adapter.is_dir():
        pytest.skip("it was not trained")
    python = request.getfixturevalue("vllm_python") if model == "drp_vllm" else sys.executable
    sets = tmp_path / "sets"
    sets.mkdir()
    (sets / "gsm8k_test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in QUESTIONS[:3]))
    own = {"drp_hf": f"peft={adapter},threads=1", "drp_vllm": f"lora={adapter},max_model_len=1024"}
    done = subprocess.run(
        [str(python), "-m", "lmms_eval", "--model", model, "--tasks", "drp_gsm8k",
         "--model_args", f"pretrained={small_llm},thinking=False,{own[model]}",
         "--gen_kwargs", "max_new_tokens=24", "--log_samples", "--output_path", str(tmp_path)],
        env={**{k: v for k, v in os.environ.items() if k != QWEN_VARIABLE},
             "DRP_DATA_DIR": str(sets), "XDG_CACHE_HOME": str(tmp_path / "none"),
             "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
             "PYTHONWARNINGS": "ignore"}, capture_output=True, text=True, timeout=850,
        cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stderr.splitlines() if line.startswith("drp: ")]
    assert any("counted with the model's own tokenizer" in line for line in said), said
    (file,) = tmp_path.rglob("*_samples_drp_gsm8k.jsonl")
    rows = written(file)
    assert len(rows) == 3
    (result,) = tmp_path.rglob("*_results.json")
    figures = json.loads(result.read_text())["results"]["drp_gsm8k"]
    assert 0 < next(v for k, v in figures.items() if k.startswith("tokens")) <= 25
    assert next(v for k, v in figures.items() if k.startswith("think_tokens")) == 0
