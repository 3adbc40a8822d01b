"""Measures a student: `python scripts/student/evaluate.py MODEL_DIR --n 300`.

Accuracy, tokens and unfinished answers per level, sampled and greedy, on the unseen problems, by
the package's own sampler and grader. `--card` writes the figures into the model's card.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from card import table, write_card
from problems import levels, questions

from drp_plugin.llm.messages import Message
from drp_plugin.sampling.completions import Completion, Failed, Outcome, SampleRequest
from drp_plugin.sampling.pretrained import derived_seed
from drp_plugin.sampling.transformers_engine import HFSampler
from drp_plugin.scoring import measure_many
from drp_plugin.student import model_path
from drp_plugin.tokens import TokenCounter


def evaluate(folder: str | Path, n: int = 300, cap: int = 1024, seed: int = 0) -> list[dict]:
    """A row of figures for each way of decoding and level, `n` unseen problems each.

    Keys: `level`, `decoding`, `n`, `accuracy`, `tokens`, `think_tokens`, `truncated` (share that
    did not end within `cap`), `loops` (share that end in a loop), `cap`. Progress goes to stderr.
    """
    sampler, counter = HFSampler(str(folder)), TokenCounter.load(str(folder))
    rows = []
    for decoding, temperature in (("sampled", 0.6), ("greedy", 0.0)):
        for level in levels():
            asked = questions("eval", level, n)
            requests = [SampleRequest(messages=(Message(role="user", content=row["question"]),),
                                      temperature=temperature, max_new_tokens=cap,
                                      seed=derived_seed(seed, row["id"])) for row in asked]
            began = time.monotonic()
            done = [_said(outcome) for _, outcome in sorted(sampler.sample(requests))]
            ended = [c.finish == "stop" for c in done]
            read = measure_many([c.text for c in done], [row["answer"] for row in asked],
                                ["tiny"] * n, counter, None, ended=ended)
            right = sum(bool(r.correct) and e for r, e in zip(read, ended, strict=True))
            row = {
                "level": level, "decoding": decoding, "n": n, "accuracy": right / n,
                "tokens": sum(c.tokens for c in done) / n,
                "think_tokens": sum(r.think_tokens for r in read) / n,
                "truncated": 1 - sum(ended) / n,
                "loops": sum(r.loop is not None for r in read) / n, "cap": cap,
            }
            rows.append(row)
            seconds = round(time.monotonic() - began, 1)
            print(json.dumps(row | {"seconds": seconds}), file=sys.stderr, flush=True)
    return rows


def _said(outcome: Outcome) -> Completion:
    if isinstance(outcome, Failed):
        raise RuntimeError(outcome.error)
    return outcome


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="measure the embedded student")
    parser.add_argument("model", nargs="?", default=str(model_path()), help="the model's folder")
    parser.add_argument("--n", type=int, default=300, help="problems per level")
    parser.add_argument("--cap", type=int, default=1024, help="most new tokens of an answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--card", action="store_true", help="write the model card")
    args = parser.parse_args()
    figures = evaluate(args.model, args.n, args.cap, args.seed)
    print(table(figures))
    if args.card:
        write_card(Path(args.model), None, figures)


if __name__ == "__main__":
    main()
