"""Measures a student: `python -m drp_plugin.student.evaluate MODEL_DIR --n 300`.

Accuracy, tokens and unfinished answers per level, sampled and greedy, on the unseen problems.
`--card` writes the figures into the model's card.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from drp_plugin.student import model_path
from drp_plugin.student.card import table, write_card
from drp_plugin.student.problems import levels, questions

_BOX = re.compile(r"\\boxed\{([^{}]*)\}")


@dataclass(frozen=True)
class Completion:
    """What the student generated for one question."""

    text: str
    """Decoded with the special tokens, up to the end token; the opening tag was in the prompt."""
    tokens: int
    think_tokens: int
    ended: bool


def load(folder: str | Path):
    """The tokenizer and the model of a folder, ready to generate."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    return tokenizer, model.eval()


@torch.inference_mode()
def complete(
    tokenizer, model, texts: list[str], *, sample: bool, cap: int = 1024, batch: int = 64
) -> list[Completion]:
    """One completion for each question, at most `cap` new tokens, `batch` at a time."""
    found: list[Completion] = []
    close = tokenizer.convert_tokens_to_ids("</think>")
    how: dict[str, Any] = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 0}
    if not sample:
        how = {"do_sample": False, "temperature": None, "top_p": None}
    for begin in range(0, len(texts), batch):
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            )
            for text in texts[begin : begin + batch]
        ]
        inputs = tokenizer(
            prompts,
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
        )
        inputs.pop("token_type_ids", None)
        output = model.generate(**inputs, max_new_tokens=cap, **how)
        for row in output[:, inputs["input_ids"].shape[1] :].tolist():
            ended = tokenizer.eos_token_id in row
            ids = row[: row.index(tokenizer.eos_token_id)] if ended else row
            thinking = ids.index(close) + 1 if close in ids else len(ids)
            text = tokenizer.decode(ids, skip_special_tokens=False)
            found.append(Completion(text, len(ids) + ended, thinking, ended))
    return found


def is_correct(completion: Completion, answer: str) -> bool:
    """Whether the last box after the thinking holds the answer."""
    boxes = _BOX.findall(completion.text.partition("</think>")[2])
    return completion.ended and bool(boxes) and boxes[-1].strip() == answer


def evaluate(
    folder: str | Path, n: int = 300, cap: int = 1024, seed: int = 0, batch: int = 64
) -> list[dict]:
    """A row of figures for each way of decoding and level, `n` unseen problems each.

    Keys: `level`, `decoding`, `n`, `accuracy`, `tokens`, `think_tokens`, `truncated` (share that
    did not end within `cap`), `cap`. Progress goes to stderr.
    """
    tokenizer, model = load(folder)
    rows = []
    for decoding in ("sampled", "greedy"):
        torch.manual_seed(seed)
        for level in levels():
            asked = questions("eval", level, n)
            began = time.monotonic()
            done = complete(
                tokenizer,
                model,
                [row["question"] for row in asked],
                sample=decoding == "sampled",
                cap=cap,
                batch=batch,
            )
            right = sum(is_correct(c, row["answer"]) for c, row in zip(done, asked, strict=True))
            row = {
                "level": level,
                "decoding": decoding,
                "n": n,
                "accuracy": right / n,
                "tokens": sum(c.tokens for c in done) / n,
                "think_tokens": sum(c.think_tokens for c in done) / n,
                "truncated": sum(not c.ended for c in done) / n,
                "cap": cap,
            }
            rows.append(row)
            seconds = round(time.monotonic() - began, 1)
            print(json.dumps(row | {"seconds": seconds}), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="measure the embedded student")
    parser.add_argument("model", nargs="?", default=str(model_path()), help="the model's folder")
    parser.add_argument("--n", type=int, default=300, help="problems per level")
    parser.add_argument("--cap", type=int, default=1024, help="most new tokens of an answer")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--card", action="store_true", help="write the model card")
    args = parser.parse_args()
    figures = evaluate(args.model, args.n, args.cap, args.seed, args.batch)
    print(table(figures))
    if args.card:
        write_card(Path(args.model), None, figures)


if __name__ == "__main__":
    main()
