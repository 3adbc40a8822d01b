"""What an experiment will cost: arithmetic over stated inputs, before anything is run.

For the teacher a pilot of the real rows is better: `drp prune … --forecast`.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from drp_plugin.experiment.file import Experiment, slug
from drp_plugin.experiment.stages import Stage
from drp_plugin.llm.prices import find_price
from drp_plugin.records import Usage

TOKENS = {"skill": (2.6, 2.0), "default": (2.5, 1.9), "sentence": (1.4, 0.8),
          "indexed": (1.4, 0.44)}
"""The teacher's tokens in and out for a token of the trace, by `--decompose`: the rule teacher's
decisions on 220 real traces (`python benchmarks/modes.py`), rounded up."""
OVERHEAD = 900  # Prompt tokens of a row that do not depend on its length
DISTILLED = (200.0, 450.0)  # Tokens in and out of a row of `drp distill`


class Projection(NamedTuple):
    """What a stage is expected to take; None where it takes none, or it cannot be told."""

    usd: float | None
    gpu_hours: float | None
    formula: str


def project(stage: Stage, experiment: Experiment) -> Projection:
    """A stage's cost. `rows` of the experiment must be known for figures."""
    student = next((s for name, s in experiment.students.items()
                    if stage.name.startswith(f"{slug(name)}/")), None)
    if experiment.rows is not None and student is not None:
        if stage.kind == "prune":
            return _teacher(stage, experiment, experiment.rows)
        if stage.kind in ("generate", "train") and student.parameters is not None:
            return _gpu(stage, experiment, experiment.rows, student.parameters)
    return Projection(None, None, "")


def _option(words: Sequence[str], name: str, default: str = "") -> str:
    """Of `--name value` or `name=value`."""
    found = dict(itertools.pairwise(words)) | dict(w.split("=", 1) for w in words if "=" in w)
    return found.get(name, default)


def _teacher(stage: Stage, experiment: Experiment, rows: int) -> Projection:
    teacher = _option(stage.command, "--teacher")
    price = find_price(teacher, override=_option(stage.command, "--price") or None,
                       hosted="--base-url" not in stage.command)
    if price is None:
        return Projection(None, None, f"no price is known for {teacher}"
                          if teacher.startswith(("openai:", "gemini:", "azure:")) else "")
    prompt, completion = DISTILLED
    if "distill" not in stage.command:
        trace = experiment.hardware.trace_tokens
        given, made = TOKENS[_option(stage.command, "--decompose", "skill")]
        prompt, completion = given * trace + OVERHEAD, made * trace
    batch = "--batch" in stage.command
    usd = price.cost(Usage(requests=1, prompt_tokens=round(rows * prompt),
                           completion_tokens=round(rows * completion)), batch=batch)
    return Projection(usd, None, f"{rows:,} rows × ({prompt:,.0f} tokens in × ${price.input:g} + "
                      f"{completion:,.0f} out × ${price.output:g}) / 10⁶"
                      + (f" × {price.batch:g} (batch)" if batch else ""))


def _gpu(stage: Stage, experiment: Experiment, rows: int, parameters: float) -> Projection:
    hardware = experiment.hardware
    if stage.kind == "generate":
        samples = int(_option(stage.command, "--samples", "1"))
        tokens = rows * samples * hardware.trace_tokens
        hours = tokens / hardware.decode_tokens_per_s / 3600
        return Projection(None, hours, f"{rows:,} × {samples} × {hardware.trace_tokens:,} tokens / "
                          f"{hardware.decode_tokens_per_s:,.0f} tokens/s")
    epochs = float(_option(stage.command, "num_train_epochs", "3"))
    size = int(_option(stage.command, "max_samples", str(rows)))
    learned = min(rows, size) * hardware.trace_tokens * 0.5  # about half is left
    # LoRA: forward and backward through all weights, no gradient of theirs: 4 FLOPs a parameter
    flops = 4 * parameters * 1e9 * learned * epochs
    hours = flops / (hardware.tflops * 1e12 * hardware.train_utilization) / 3600
    return Projection(None, hours, f"4 × {parameters:g}e9 parameters × {learned:,.0f} "
                      f"tokens × {epochs:g} epochs / ({hardware.tflops:g} TFLOP/s × "
                      f"{hardware.train_utilization:g})")
