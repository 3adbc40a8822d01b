"""Our grader and stock Math-Verify side by side on the labelled cases of tests/grading.

    python benchmarks/evaluation_grader.py            scores
    python benchmarks/evaluation_grader.py --list     and every case that Math-Verify gets wrong

Math-Verify is called as its README has it: `verify(parse(gold), parse(text))`, gold in dollars,
on the text behind `</think>` (where there is none, on nothing), which is kinder to it than the
whole completion. A case without an answer counts as right when it is not graded right.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "grading"))


def main() -> None:
    from math_verify import parse, verify
    from suite import cases

    from drp_plugin.grading import grade

    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--list", action="store_true")
    chosen = options.parse_args()
    total: Counter[str] = Counter()
    hits: dict[str, Counter[str]] = {"ours": Counter(), "Math-Verify": Counter()}
    for case in cases():
        total[case.want] += 1
        wanted = case.want == "right"
        ours = grade(case.completion, case.gold, case.dataset).correct
        tail = case.completion.rpartition("</think>")[2] if "</think>" in case.completion else ""
        stock = bool(verify(parse(f"${case.gold}$"), parse(tail)))
        hits["ours"][case.want] += ours == wanted
        hits["Math-Verify"][case.want] += stock == wanted
        if chosen.list and stock != wanted:
            print(f"{case.trap}: {case.gold!r} against {case.text!r} is {case.want}")
    n = sum(total.values())
    print(f"{n} cases: {total['right']} right, {total['wrong']} wrong, {total['none']} no answer")
    for name, found in hits.items():
        by = ", ".join(f"{found[want]}/{total[want]} {want}" for want in total)
        print(f"{name:12} {sum(found.values())}/{n} ({sum(found.values()) / n:.1%}): {by}")


if __name__ == "__main__":
    main()
