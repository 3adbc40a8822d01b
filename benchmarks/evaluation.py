"""Completions graded and counted per second, beside Math-Verify's plain loop.

    python benchmarks/evaluation.py                       10,000 completions
    python benchmarks/evaluation.py --completions real.jsonl --limit 2000

Both do the same job on the same completions in the same run: count the tokens of the whole
completion and of its thinking with the same tokenizer, and grade the final answer. The plain loop
is what people write first: encode, `parse` the completion, `parse` the gold, `verify`, one row
after the other. Ours is `measure_many`, with the 12,000-token cutoff on top. Without a file the
completions are made up, seeded, as long as R1-Distill's on MATH (mean near 3,800 tokens).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import resource
import sys
import time
from typing import Any

WORDS = re.findall(r"\w+", """so wait let me think the value of x is then we have to check that
again because it could be that this does not hold for all cases hmm okay maybe another way would
be to compute sum product number total equation first second therefore since if alternatively""")
FORMULAS = ("\\( {a} + {b} = {c} \\)", "\\[\nx^2 - {a}x + {b} = 0\n\\]", "\\frac{{{a}}}{{{b}}}",
            "{a} × {b} = {d}", "\\sqrt{{{a}}}", "{a}/{b}", "$y = {a}x + {b}$")
ANSWERS = ("{a}", "\\frac{{{a}}}{{{b}}}", "{a}\\sqrt{{{b}}}", "({a}, {b})", "{a}\\pi", "x^2+{a}x",
           "[{a}, {b})", "\\text{{{a} hours}}", "{a}\\%", "{a}^\\circ")


def made_up(n: int, seed: int = 1) -> list[dict[str, str]]:
    """Completions of realistic length; a tenth of them wrong, one in a hundred an endless loop."""
    rng = random.Random(seed)

    def sentence() -> str:
        a, b = rng.randrange(2, 500), rng.randrange(2, 90)
        words = " ".join(rng.choices(WORDS, k=rng.randrange(5, 22)))
        formula = rng.choice(FORMULAS).format(a=a, b=b, c=a + b, d=a * b)
        return f"{words.capitalize()} {formula}{rng.choice(('.', ',', '?'))}"

    pool = [sentence() for _ in range(20_000)]
    rows = []
    for i in range(n):
        answer = rng.choice(ANSWERS).format(a=rng.randrange(2, 5_000), b=rng.randrange(3, 60))
        gold = answer if i % 10 else f"{answer}+1"
        length = min(int(rng.lognormvariate(4.55, 0.75)), 900)
        thinking = "\n\n".join(" ".join(rng.choices(pool, k=3)) for _ in range(length // 3 + 1))
        solution = " ".join(rng.choices(pool, k=8))
        text = f"<think>\n{thinking}\n</think>\n\n**Solution.** {solution}\n\n" \
               f"The final answer is \\(\\boxed{{{answer}}}\\)."
        if i % 100 == 0:
            text = f"<think>\n{thinking[:2000]}" + " Wait, let me check this once more." * 2_500
        rows.append({"response": text, "answer": gold, "dataset": "math500"})
    return rows


def peak() -> float:
    """MiB of this process and of its largest child."""
    return sum(resource.getrusage(who).ru_maxrss for who in (
        resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def cpu() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    return sum(used.ru_utime + used.ru_stime for used in map(
        resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def ours(rows: list[dict[str, str]], tokenizer: str) -> dict[str, Any]:
    from drp_plugin.scoring import measure_many
    from drp_plugin.tokens import TokenCounter

    counter = TokenCounter.load(tokenizer)
    counter.count("warm")
    start, spent = time.perf_counter(), cpu()
    found = []
    for at in range(0, len(rows), 256):
        part = rows[at:at + 256]
        found += measure_many([r["response"] for r in part], [r["answer"] for r in part],
                              [r["dataset"] for r in part], counter)
    seconds = time.perf_counter() - start
    from drp_plugin.grading import worker

    worker.stop()
    return {"seconds": seconds, "cpu": cpu() - spent, "tokens": [m.full.tokens for m in found],
            "correct": sum(bool(m.full.correct) for m in found), "peak": peak()}


def plain(rows: list[dict[str, str]], tokenizer: str) -> dict[str, Any]:
    from math_verify import parse, verify

    from drp_plugin.tokens import TokenCounter

    encode = TokenCounter.load(tokenizer)._tokenizer.encode
    encode("warm")
    start, spent = time.perf_counter(), cpu()
    tokens, correct = [], 0
    for row in rows:
        text = row["response"]
        tokens.append(len(encode(text, add_special_tokens=False)))
        len(encode(text.rpartition("</think>")[0], add_special_tokens=False))
        answer = parse(text)
        gold = parse(f"${row['answer']}$")
        correct += verify(gold, answer)
    return {"seconds": time.perf_counter() - start, "cpu": cpu() - spent, "tokens": tokens,
            "correct": correct, "peak": peak()}


def alone(function: Any, *arguments: Any) -> dict[str, Any]:
    """In a process of its own, so that memory is its own too."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        result: dict[str, Any] = pool.apply(function, arguments)
        return result


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--completions", help="JSONL with response and answer")
    options.add_argument("--limit", type=int, default=10_000)
    options.add_argument("--plain-limit", type=int, default=None,
                         help="completions for the plain loop (default: all)")
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--tokenizer", default="qwen")
    chosen = options.parse_args()
    if chosen.completions:
        with open(chosen.completions, encoding="utf-8") as file:
            real = [json.loads(line) for line in file]
        rows = [{"response": r["response"], "answer": str(r["answer"]),
                 "dataset": r.get("dataset") or "math500"}
                for i in range(chosen.limit) for r in (real[i % len(real)],)]
    else:
        rows = made_up(chosen.limit)
    few = rows[:chosen.plain_limit]
    # alternately: other work on the machine then falls on both
    mine, theirs = [], []
    for _ in range(chosen.rounds):
        mine.append(alone(ours, rows, chosen.tokenizer))
        theirs.append(alone(plain, few, chosen.tokenizer))
    best, other = (min(runs, key=lambda r: r["seconds"]) for runs in (mine, theirs))
    assert best["tokens"][:len(few)] == other["tokens"], "both must count the same"
    rate, reference = len(rows) / best["seconds"], len(few) / other["seconds"]
    mean = sum(best["tokens"]) / len(rows)
    print(f"{len(rows):,} completions, {mean:,.0f} tokens on average")
    print(f"{'':26}{'per second':>12}{'per CPU second':>16}{'correct':>9}{'peak MiB':>10}")
    for name, found, n in (("ours", best, len(rows)), ("Math-Verify, plain loop", other, len(few))):
        print(f"{name:26}{n / found['seconds']:12,.1f}{n / found['cpu']:16,.1f}"
              f"{found['correct']:9,}{found['peak']:10,.0f}")
    print(f"ratio {rate / reference:.1f}, by CPU time "
          f"{len(rows) / best['cpu'] / (len(few) / other['cpu']):.1f}")
    sys.exit(0 if rate / reference >= 5 else 1)


if __name__ == "__main__":
    main()
