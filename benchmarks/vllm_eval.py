"""drp_vllm against lmms-eval's own vllm model, on the embedded student: time and accuracy.

    python benchmarks/vllm_eval.py [--prompts 1000] [--batch 32 256 1000] [--kills 5] [-o FILE]

Runs with the interpreter that has vLLM: this one, or .venv-vllm's. The stock model is run at each
batch size and its best one counts. Both are asked the same questions with the same prompts,
greedily, and graded by the same task. With --kills the drp_vllm run is killed that often and
started again; the samples must be those of the undisturbed run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASK = "bench_tiny"
LEVELS = "steps2+steps3+steps4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 256, 1000])
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--model", default=None, help="default: the embedded student")
    parser.add_argument("--max-new-tokens", type=int, default=1024)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    if importlib.util.find_spec("vllm") is None:
        beside = Path(__file__).resolve().parent.parent / ".venv-vllm" / "bin" / "python"
        if not beside.exists():
            print("vllm_eval: no vLLM here, nothing measured")
            return
        os.execv(beside, [str(beside), *sys.argv])
    from drp_plugin.resources import resource
    from drp_plugin.student import model_path

    model = given.model or str(model_path())
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        base = resource("lmms_eval_tasks")
        tasks = work / "tasks"
        tasks.mkdir()
        (tasks / f"{TASK}.yaml").write_text(
            f"include: [{base}/_tiny, {base}/_base]\ntask: {TASK}\n"
            f"generation_kwargs: {{max_new_tokens: {given.max_new_tokens}, do_sample: false, "
            "temperature: 0.0, top_p: 1.0, until: []}\n"
            # the stock model does not say which tokenizer is its own
            f"variant: {{prompt: eval_plain, cutoff: 768, tokenizer: '{model}'}}\n"
            f"protocol: {{questions: 'tiny:eval:{LEVELS}:{given.prompts}'}}\n")
        ours = f"pretrained={model}"
        # the arguments that the stock model needs on a CPU, and its own cap
        stock = (f"model={model},max_new_tokens={given.max_new_tokens},max_model_len=2048,"
                 "dtype=float32,enforce_eager=True,distributed_executor_backend=uni")
        rows = [_run("drp_vllm", ours, tasks, work / "drp", None)]
        for batch in given.batch:
            rows.append(_run("vllm", stock, tasks, work / f"stock{batch}", batch))
        if given.kills:
            rows.append(_killed(ours, tasks, work / "killed", given.kills, work / "drp"))
    best = min((r for r in rows if r["model"] == "vllm"), key=lambda r: r["generation_s"],
               default=None)
    if best:
        rows[0]["speedup_over_best_stock"] = round(
            best["generation_s"] / rows[0]["generation_s"], 2)
    for row in rows:
        print(json.dumps(row))
    if given.output:
        given.output.write_text(json.dumps(rows, indent=1) + "\n")


def _command(model: str, arguments: str, tasks: Path, out: Path, batch: int | None) -> list[str]:
    return [sys.executable, "-m", "lmms_eval", "--model", model, "--model_args", arguments,
            "--tasks", TASK, "--include_path", str(tasks), "--output_path", str(out),
            "--log_samples", *([] if batch is None else ["--batch_size", str(batch)])]


def _environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


def _run(model: str, arguments: str, tasks: Path, out: Path, batch: int | None) -> dict:
    """Wall time of the whole command, and of the part after the engine was up."""
    print(f"{model} batch_size={batch}", file=sys.stderr, flush=True)
    start = time.time()
    process = subprocess.Popen(_command(model, arguments, tasks, out, batch), env=_environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log, marks = [], {}
    assert process.stdout is not None
    for line in process.stdout:
        log.append(line)
        if "Running generate_until requests" in line:
            marks["start"] = time.time()
        if "Postprocessed" in line:
            marks["end"] = time.time()
    if process.wait() or not list(out.rglob("*_results.json")):
        sys.exit("".join(log[-40:]))
    generation = marks["end"] - marks["start"]
    if model == "drp_vllm":  # its engine starts with the first request: not generation
        generation -= _engine_start(log)
    return {"model": model, "batch_size": batch, "wall_s": round(time.time() - start, 1),
            "generation_s": round(generation, 1), **_figures(out)}


def _engine_start(log: list[str]) -> float:
    for line in log:
        if line.startswith("drp: vLLM's engine is ready after "):
            return float(line.split()[6])
    return 0.0


def _figures(out: Path) -> dict:
    (file,) = out.rglob("*_results.json")
    found = json.loads(file.read_text())["results"][TASK]
    return {"accuracy": found["accuracy,none"], "tokens": round(found["tokens,none"], 1)}


def _texts(out: Path) -> list:
    (file,) = out.rglob("*_samples_*.jsonl")
    return [json.loads(line)["filtered_resps"] for line in file.read_text().split("\n") if line]


def _killed(arguments: str, tasks: Path, out: Path, kills: int, whole: Path) -> dict:
    rng = random.Random(0)
    start, kept = time.time(), []
    for number in range(kills):
        print(f"kill {number + 1} of {kills}", file=sys.stderr, flush=True)
        had = _stored(out)
        process = subprocess.Popen(_command("drp_vllm", arguments, tasks, out, None),
                                   env=_environment(), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        more = had + rng.randint(5, 60)
        while _stored(out) < more and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept.append(_stored(out))
    _run("drp_vllm", arguments, tasks, out, None)
    return {"model": "drp_vllm", "kills": kills, "stored_after_each": kept,
            "wall_s": round(time.time() - start, 1),
            "same_as_undisturbed": _texts(out) == _texts(whole), **_figures(out)}


def _stored(out: Path) -> int:
    file = out / "drp_completions.sqlite"
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as found:
            return int(found.execute("SELECT COUNT(*) FROM replies").fetchone()[0])
    except sqlite3.Error:
        return 0


if __name__ == "__main__":
    main()
