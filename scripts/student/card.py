"""The model card of the embedded student, with the figures measured on it."""

import json
from pathlib import Path

_CARD = """\
---
license: apache-2.0
language: en
pipeline_tag: text-generation
tags: [toy, reasoning, synthetic]
---

# The embedded student of DRP

**This is a toy.** A Qwen2-architecture model of about a million parameters, trained from scratch
on word problems that a program generated, to answer in the manner of R1: a long, hesitating,
re-checking `<think>` part, then a short answer with `\\boxed{{}}`. It solves problems of that one
family and knows nothing else: it is no use for any other text, and its figures say nothing about
real models. It exists so that Distilled Reasoning Pruning can be run from end to end, and tested,
without a hub and without a GPU.

- Problems: `scripts/student/problems.py`, chains of 2 to 5 operations (+ − × ÷). The levels
  `steps2`, `steps3` and `steps4` have a split `sft`; `ood` (other stories, irrelevant facts, larger
  numbers, up to 5 steps) was seen in pretraining but is not in `sft`.
- Solutions for pretraining: `scripts/student/writer.py`, written by rule.
- Tokenizer: byte-level BPE, one digit a token, special tokens and chat template as in R1-Distill.
- Endless loops: a small share of its sampled answers never ends. That is meant, since real
  reasoning models do it too, and a token limit has to deal with it.
{training}
## Measured

{figures}
"""

_TABLE_HEAD = (
    "| level | decoding | problems | accuracy | mean tokens | of these thinking | not ended"
    " | endless loops |\n|---|---|---|---|---|---|---|---|\n"
)


def write_card(folder: Path, training: dict | None, figures: list[dict]) -> None:
    """Writes `README.md` into the model's folder.

    `training` holds `steps`, `tokens` and `seed` and is kept in `training.json`; None takes what
    is there. `figures` are rows of `evaluate.evaluate`, or empty when nothing is measured yet.
    """
    record = folder / "training.json"
    if training is not None:
        record.write_text(json.dumps(training) + "\n")
    elif record.exists():
        training = json.loads(record.read_text())
    line = ""
    if training:
        line = (
            "- Training: {steps:,} steps, {tokens:,} tokens, seed {seed}, by `python"
            " scripts/student/train.py`.\n".format(**training)
        )
    text = _CARD.format(training=line, figures=table(figures) or "Not measured yet.")
    (folder / "README.md").write_text(text, encoding="utf-8")


def table(figures: list[dict]) -> str:
    """The figures as a Markdown table with a line on how they were measured."""
    if not figures:
        return ""
    rows = "".join(
        "| {level} | {decoding} | {n} | {accuracy:.1%} | {tokens:.0f} | {think_tokens:.0f} |"
        " {truncated:.1%} | {loops:.1%} |\n".format(**figure)
        for figure in figures
    )
    cap = figures[0]["cap"]
    note = (
        f"Unseen problems (split `eval`), at most {cap} new tokens; sampled at temperature 0.6 and"
        " top-p 0.95, or greedy. An answer that did not end is wrong and counts with all its"
        " tokens. Measured by `python scripts/student/evaluate.py`."
    )
    return f"{note}\n\n{_TABLE_HEAD}{rows}"
