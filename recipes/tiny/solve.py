"""Solutions of the embedded student's own problems by rule, in a teacher's voice.

    python recipes/tiny/solve.py tiny:sft:steps2+steps3+steps4:600 -o solved.jsonl

A stand-in for the teacher of direct distillation (§6.2), who solves the question without having
seen the student's trace. It is rules that know the wordings of this toy family, no language model.
A solution that is not the gold answer is left out and counted, as `drp distill` does.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from drp_plugin import jsonl
from drp_plugin.errors import UserError, refusal
from drp_plugin.sampling.questions import load

NAME = "stand-in:rules-of-the-toy"
PRODUCT = re.compile(r"(\d+) (?:boxes|bags|jars|baskets|rows|crates|hours).*?\b(\d+) "
                     r"|gets (\d+) dollars every week for (\d+) weeks")
SAYS = (  # what a sentence does with the amount so far; the first that fits
    ("*", r"times as (?:many|much)|times as large|every one of|for \d+ dollars each"
          r"|\d+ dollars for each"),
    ("/", r"equal"),
    ("-", r"fewer|\bloses|\bsells \d|throws away|spends|\bpays|taken away|visitors buy|damaged"
          r"|^(?:she|he) gives"),
    ("+", r"more|gives (?:her|him)|finds|earns|gets|arrive|the workers add"),
)


TIMES = re.compile(r"(\w+) has \d+ times as many \w+ as (?!before)(\w+)\.")
COMPARED = re.compile(r"(\w+) has \d+ (?:more|fewer) ")


def solve(question: str) -> list[str]:
    """The equations of a problem, in order. Raises ValueError for a wording it does not know."""
    first, *events = [part for part in re.split(r"(?<=\.) ", question)
                      if not part.startswith("Find")]
    person = first.split()[0]
    if found := PRODUCT.search(first):
        a, b = (int(x) for x in found.groups() if x)
        amount, steps = a * b, [f"{a} * {b} = {a * b}"]
    else:
        amount, steps = _number(first), []
    for event in events:
        number = _number(event)
        if found := TIMES.match(event):  # whose amount is known decides: theirs, or the other's
            symbol, person = ("/", found[2]) if found[1] == person else ("*", found[1])
        else:
            symbol = _symbol(event)
            person = found[1] if (found := COMPARED.match(event)) else person
        result = {"+": amount + number, "-": amount - number, "*": amount * number,
                  "/": amount // number}[symbol]
        steps.append(f"{amount} {symbol} {number} = {result}")
        amount = result
    return steps


def _number(sentence: str) -> int:
    if found := re.search(r"\d+", sentence):
        return int(found[0])
    raise ValueError(sentence)


def _symbol(sentence: str) -> str:
    for symbol, wording in SAYS:
        if re.search(wording, sentence.lower()):
            return symbol
    raise ValueError(sentence)


def rows(questions: str) -> Iterator[dict[str, str]]:
    """A training row for each problem that is solved rightly."""
    for row in load(questions):
        try:
            steps = solve(row.question)
        except (ValueError, ZeroDivisionError):
            continue
        if (answer := steps[-1].rpartition(" ")[2]) == row.answer:
            lines = "\n".join(steps)
            yield {"id": row.id, "question": row.question, "answer": answer,
                   "dataset": row.dataset or "tiny", "teacher": NAME, "prompt": "eval_plain",
                   "response": f"<think>\nWe compute in order.\n{lines}\nThe answer is {answer}."
                               f"\n</think>\n\nThe result is \\boxed{{{answer}}}."}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", help="what `drp generate` takes, of the toy's family")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    try:
        made = list(rows(arguments.questions))
        Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
        jsonl.write(Path(arguments.output), made)
        print(f"{len(made)} of {len(load(arguments.questions))} problems solved", file=sys.stderr)
    except (UserError, OSError) as error:
        print(f"drp: {refusal(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
