"""drp_vllm on a real vLLM (CPU or GPU), through the sampler and through lmms-eval."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_command import _stored, said, samples

pytestmark = [pytest.mark.vllm, pytest.mark.framework]


@pytest.fixture(scope="module")
def adapter(random_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("adapter")
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(random_student),
        peft.LoraConfig(r=8, lora_alpha=16, target_modules=targets, init_lora_weights=False),
    ).save_pretrained(folder)
    return folder


def test_the_engine(vllm_python: Path, random_student: Path, adapter: Path) -> None:
    """One engine, all its scenes, against the transformers engine with the same adapter."""
    done = subprocess.run(
        [str(vllm_python), str(Path(__file__).with_name("vllm_scenes.py")), str(random_student),
         str(adapter)], env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True,
        timeout=1500)
    line = next((x for x in done.stdout.splitlines() if x.startswith("SEEN ")), None)
    assert line, done.stderr[-3000:]
    seen = json.loads(line.removeprefix("SEEN "))
    assert seen["greedy"] == seen["hf"]  # same texts, counts, ends: token by token
    assert seen["greedy"] != seen["hf_without"]  # and the adapter was in force
    assert {c["finish"] for c in seen["greedy"]} == {"stop", "length"}
    assert seen["sampled"] == seen["reversed"]  # seeds, not the order of work, decide
    assert [c["finish"] for c in seen["cutoff"]] == ["cutoff"] and seen["cutoff"][0]["tokens"] == 4
    assert "context 1024" in seen["too_long"][0]["error"] and seen["too_long"][1]["text"]
    # more rows than the engine is given at a time, and none of the first has room
    assert all("context 1024" in row["error"] for row in seen["five_ahead"][:6])
    assert seen["five_ahead"][6:] == seen["greedy"]
    assert seen["loops"] == seen["hf_loops"]
    assert seen["own_budget"]  # vLLM ends the thinking by itself, in one request
    longer = 0
    for free, within in zip(seen["freely"], seen["within"], strict=True):
        begun = within["text"].partition("</think>")[0]
        assert free["text"].startswith(begun) and within["tokens"] <= 60
        if within != free:
            longer += 1
            assert "</think>" in within["text"]
    assert longer > 3
    assert "no argument 'gpu_memory_utilisation'" in seen["mistake"]
    assert "Did you mean 'gpu_memory_utilization'" in seen["mistake"]


def test_killed_and_started_again(lmms_eval: Callable[..., subprocess.CompletedProcess],
                                  vllm_python: Path, random_student: Path, sets: Path,
                                  tmp_path: Path) -> None:
    """What was finished before the kill is there afterwards, and the result is the same."""
    arguments = ["--model", "drp_vllm", "--model_args",
                 f"pretrained={random_student},max_new_tokens=500,max_num_seqs=1",
                 "--tasks", "drp_math500_sampled", "--log_samples", "--output_path"]
    environment = {**os.environ, "DRP_DATA_DIR": str(sets), "HF_HUB_OFFLINE": "1"}
    cut = tmp_path / "cut"
    process = subprocess.Popen([str(vllm_python), "-m", "lmms_eval", *arguments, str(cut)],
                               env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 900
    while _stored(cut) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 4 <= _stored(cut) < 48 and not list(cut.rglob("*_results.json"))
    runs = {}
    for folder in (cut, tmp_path / "whole"):
        done = lmms_eval(*arguments, str(folder), python=vllm_python, DRP_DATA_DIR=str(sets))
        assert done.returncode == 0, done.stderr[-3000:]
        assert all(" drp_vllm " in line or "engine is ready" in line for line in said(done))
        runs[folder] = samples(folder, "drp_math500_sampled")
        assert _stored(folder) == 48
    assert runs[cut] == runs[tmp_path / "whole"]
    assert all(row["token_counts"][0]["output_tokens"] <= 501 for row in runs[cut])
