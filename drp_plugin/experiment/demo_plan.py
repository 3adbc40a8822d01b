"""The stages of the demo: the same commands that README gives for a real run."""

from __future__ import annotations

import sys
from pathlib import Path

from drp_plugin.experiment.stage_runner import tool
from drp_plugin.experiment.stages import Stage
from drp_plugin.records import Record

SET_NAME = "drp_tiny"
"""The name of the SFT set, as `llamafactory_configs/drp_tiny.yaml` has it."""
TASKS = "drp_tiny,drp_tiny_ood"
LEVELS = "steps2+steps3+steps4"
"""The kinds of problems that are trained on; `drp_tiny_ood` asks another kind."""


class Sizes(Record):
    """How much the demo does."""

    train: int = 1200
    """Questions whose traces are pruned."""
    limit: int | None = None
    """Problems a task in the evaluations; None for all of them (1,000 over both tasks)."""
    seed: int = 0


def plan(folder: Path, sizes: Sizes) -> list[Stage]:
    """The loop in `folder`: student traces → prune → SFT set → LoRA → merge → lmms-eval → table."""
    from drp_plugin.student import model_path

    drp = (sys.executable, "-m", "drp_plugin")
    cli = tool("llamafactory-cli")
    student = str(model_path())
    traces, run = folder / "traces.jsonl", folder / "run"
    work = folder / "training"
    adapter, merged = work / "saves" / SET_NAME, work / "saves" / f"{SET_NAME}_merged"
    report = folder / "report"

    def evaluate(name: str, title: str, model: Path | str, seconds: float) -> Stage:
        output = folder / "eval" / name
        limit = () if sizes.limit is None else ("--limit", str(sizes.limit))
        return Stage(
            f"evaluate-{name}", title,
            (sys.executable, "-m", "lmms_eval", "--model", "drp_hf",
             "--model_args", f"pretrained={model}", "--tasks", TASKS,
             "--output_path", str(output), "--log_samples", *limit),
            (output / "*" / "*_results.json",), seconds,
        )

    return [
        Stage("generate", "student traces: drp generate",
              (*drp, "generate", f"tiny:sft:{LEVELS}:{sizes.train}", "-o", str(traces),
               "--max-new-tokens", "1024", "--seed", str(sizes.seed)),
              (traces,), 100),
        Stage("prune", "the teacher (rules) prunes: drp prune",
              (*drp, "prune", str(traces), "-o", str(run), "--teacher", "offline",
               "--tokenizer", "student"),
              (run / "pruned.jsonl", run / "summary.json"), 10),
        Stage("build", "SFT set: drp build",
              (*drp, "build", str(run), "-o", str(work / "data"), "--name", SET_NAME,
               "--tokenizer", student, "--replace"),
              (work / "data" / "dataset_info.json",), 1),
        Stage("init", "training workspace: drp init", (*drp, "init", str(work)),
              (work / "drp_tiny.yaml",), 1),
        Stage("check", "preflight: drp check", (*drp, "check", str(work / "drp_tiny.yaml"),
                                            "overwrite_output_dir=true"), (), 13),
        Stage("train", "LoRA fine-tuning: llamafactory-cli train",
              # without it a set that changed is not trained on: the old run counts as finished
              (cli, "train", "drp_tiny.yaml", "overwrite_output_dir=true"),
              (adapter / "adapter_model.safetensors",), 115, cwd=work),
        Stage("export", "merged model: llamafactory-cli export",
              (cli, "export", "export/drp_tiny.yaml"), (merged / "model.safetensors",), 16,
              cwd=work),
        evaluate("before", "the student before: lmms-eval", student, 100),
        evaluate("after", "the student after: lmms-eval", merged, 50),
        Stage("report", "tables and figures: drp report",
              (*drp, "report", f"before={folder / 'eval' / 'before'}",
               f"after={folder / 'eval' / 'after'}", "-o", str(report),
               "--cutoff", "768", "--tokenizer", "student"),
              (report / "results.json",), 5, show=True),
    ]
