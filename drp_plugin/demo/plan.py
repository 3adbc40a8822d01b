"""The stages of the demo: the same commands that README gives for a real run."""

from __future__ import annotations

import sys
from pathlib import Path

from drp_plugin.demo.run import tool
from drp_plugin.demo.stages import Stage
from drp_plugin.records import Record

SET_NAME = "drp_tiny"
"""The name of the SFT set, as `llamafactory_configs/drp_tiny.yaml` has it."""
TASKS = "drp_tiny,drp_tiny_ood"


class Sizes(Record):
    """How much the demo does."""

    train: int = 1200
    """Questions whose traces are pruned."""
    limit: int | None = None
    """Problems a task in the evaluations; None for all of them (1,000 over both tasks)."""
    max_new_tokens: int = 1024
    """Where generation ends; the toy's counterpart of the paper's 131,072."""
    seed: int = 0


def plan(folder: Path, sizes: Sizes) -> list[Stage]:
    """The loop in `folder`: student traces → prune → SFT set → LoRA → merge → lmms-eval → table."""
    from drp_plugin.student import model_path

    drp = (sys.executable, "-m", "drp_plugin")
    student = str(model_path())
    traces, run = folder / "traces.jsonl", folder / "run"
    work = folder / "training"
    config = work / "drp_tiny.yaml"
    merged = work / "saves" / "drp_tiny" / "merged"
    report = folder / "report"

    def evaluate(name: str, title: str, model: str, seconds: float) -> Stage:
        output = folder / "eval" / name
        limit = () if sizes.limit is None else ("--limit", str(sizes.limit))
        return Stage(
            f"evaluate-{name}", title,
            (sys.executable, "-m", "lmms_eval", "--model", "drp_hf", "--model_args",
             f"pretrained={model},max_new_tokens={sizes.max_new_tokens}",
             "--tasks", TASKS, "--output_path", str(output), "--log_samples", *limit),
            (output / "*" / "*_results.json",), seconds,
        )

    return [
        Stage("generate", "student traces (drp generate)",
              (*drp, "generate", "tiny", "--model", student, "-o", str(traces),
               "--limit", str(sizes.train), "--seed", str(sizes.seed),
               "--max-new-tokens", str(sizes.max_new_tokens)),
              (traces,), 90),
        Stage("prune", "teacher prunes (drp prune, offline rules)",
              (*drp, "prune", str(traces), "-o", str(run), "--teacher", "offline",
               "--tokenizer", student),
              (run / "pruned.jsonl", run / "summary.json"), 20),
        Stage("workspace", "training workspace (drp init)",
              (*drp, "init", str(work), "--dataset-dir", str(work / "data")), (config,), 2),
        Stage("build", "SFT set (drp build)",
              (*drp, "build", str(run), "-o", str(work / "data"), "--name", SET_NAME,
               "--tokenizer", student),
              (work / "data" / "dataset_info.json",), 5),
        Stage("check", "preflight (drp check)", (*drp, "check", str(config)), (), 20),
        Stage("train", "LoRA fine-tuning (llamafactory-cli train)",
              (tool("llamafactory-cli"), "train", config.name),
              (work / "saves" / "drp_tiny" / "lora" / "adapter_model.safetensors",), 150, cwd=work),
        Stage("export", "merge the adapter (llamafactory-cli export)",
              (tool("llamafactory-cli"), "export", "drp_tiny_export.yaml"),
              (merged / "model.safetensors",), 15, cwd=work),
        evaluate("before", "evaluate the student (lmms-eval)", student, 150),
        evaluate("after", "evaluate the pruned-and-tuned student (lmms-eval)", str(merged), 90),
        Stage("report", "tables and figures (drp report)",
              (*drp, "report", f"before={folder / 'eval' / 'before'}",
               f"after={folder / 'eval' / 'after'}", "-o", str(report)),
              (report / "results.json",), 5, show=True),
    ]
