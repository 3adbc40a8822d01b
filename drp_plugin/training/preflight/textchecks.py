"""Checks of the rows as text: the thinking, the answer, and what must not be in the prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drp_plugin.thinking import CLOSE, OPEN
from drp_plugin.training.preflight.findings import Preflight
from drp_plugin.training.preflight.parsed import Parsed
from drp_plugin.training.preflight.weights import Base

if TYPE_CHECKING:
    from datasets import Dataset

_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})+)\}")
_STATED = re.compile(r"answer is:?\s*\**\$?\s*([^\n$*]+?)\$?\**\.?\s*$",
                     re.IGNORECASE | re.MULTILINE)


@dataclass
class Faults:
    """How many rows have each fault, and the first one that has it."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, code: str, row: dict[str, Any]) -> None:
        """Count one row in; its `_place` is `SET:ROW`, the row from 0."""
        self.counts[code] = self.counts.get(code, 0) + 1
        name, _, number = row["_place"].rpartition(":")
        self.first.setdefault(code, f"row {number} of {name!r}")


# By code; what stands after a colon tells cases of one code apart.
FAULTS = {
    "bad_row": "LLaMA-Factory drops it: roles or number of messages are wrong",
    "empty_response": "the response is empty",
    "empty_prompt": "the prompt is empty",
    "no_think": f"no {OPEN} and no {CLOSE}: an empty thinking would be trained in front",
    "no_think_end": f"no {CLOSE}: the student would learn to think without end",
    "no_think_start": f"no {OPEN} at the start of the response: the prompt of inference ends with "
                      "it and training would not",
    "double_think": f"{OPEN} or {CLOSE} more than once in the response",
    "double_think:prompt": f"{OPEN} or {CLOSE} in the prompt (the question)",
    "think_shape": f"not in the exact shape {OPEN}, newline, thinking, newline, {CLOSE}, blank "
                   "line, answer: tokens differ from inference",
    "no_answer": f"nothing after {CLOSE}",
    "gold_in_prompt": "the prompt gives the answer away",
    "control_token": "a control token of the chat layout stands in the text",
}
ADVICE = {"gold_in_prompt": "Take the answer out of these questions and build the set again",
          "double_think:prompt": "Take the tag out of the question, or leave the row out"}
MENDS = "Build the set with `drp build`, which mends such rows or leaves them out"


def final_answer(response: str) -> str | None:
    """The answer that a response ends with: its last box, or what `the answer is` states."""
    answer = response.rpartition(CLOSE)[2]
    boxes = _BOXED.findall(answer)
    if boxes:
        return str(boxes[-1]).strip()
    stated = _STATED.findall(answer)
    return str(stated[-1]).strip().rstrip(".") if stated else None


def gives_away(prompt: str, response: str) -> bool:
    """Whether the prompt states the final answer, or holds the response's own answer part."""
    answer_part = " ".join(response.rpartition(CLOSE)[2].split())
    flat = " ".join(prompt.split())
    if len(answer_part) >= 20 and answer_part in flat:
        return True
    final = final_answer(response)
    if not final:
        return False
    gold = re.escape(final)
    return bool(re.search(
        rf"\\boxed\{{\s*{gold}\s*\}}|####\s*{gold}(?!\w)"
        rf"|(?:answer|solution|result|gold)\s*(?:\)|\])?\s*(?:is|:|=)\s*:?\s*[\$\*\(\[]*"
        rf"{gold}(?!\w)(?!\.\d)", prompt, re.IGNORECASE))


def faults(prompt: str, response: str, marks: tuple[str, ...]) -> list[str]:
    """Keys of FAULTS for what is wrong with one row."""
    found = []
    if not prompt.strip():
        found.append("empty_prompt")
    if OPEN in prompt or CLOSE in prompt:
        found.append("double_think:prompt")
    if not response.strip():
        return [*found, "empty_response"]
    opens, closes = response.count(OPEN), response.count(CLOSE)
    if opens > 1 or closes > 1:
        found.append("double_think")
    elif not closes:
        found.append("no_think_end" if opens else "no_think")
    elif not response.startswith(OPEN):
        found.append("no_think_start")
    elif not response.rpartition(CLOSE)[2].strip():
        found.append("no_answer")
    elif not re.match(rf"{OPEN}\n\S", response) or not re.search(rf"\S\n{CLOSE}\n\n\S", response):
        found.append("think_shape")
    if any(mark in text for text in (prompt, response) for mark in marks):
        found.append("control_token")
    if gives_away(prompt, response):
        found.append("gold_in_prompt")
    return found


def check_texts(rows: Dataset, parsed: Parsed, base: Base, report: Preflight) -> set[int]:
    """Check every row; returns the numbers of those that cannot even be encoded."""
    tally, broken = Faults(), set()
    marks = base.layout.marks() if base.layout else ()
    for number, row in enumerate(rows):
        prompt, response = row["_prompt"], row["_response"]
        if len(prompt) % 2 != 1 or len(response) != (2 if parsed.pairs else 1):
            tally.add("bad_row", row)
            broken.add(number)
            continue
        for answer in response:
            for code in faults(str(prompt[-1]["content"]), str(answer["content"] or ""), marks):
                tally.add(code, row)
        if any(not isinstance(message["content"], str) for message in (*prompt, *response)):
            broken.add(number)
    for code, count in tally.counts.items():
        report.error(code.partition(":")[0],
                     f"{count} of {len(rows)} rows: {FAULTS[code]} (first: {tally.first[code]}). "
                     f"{ADVICE.get(code, MENDS)}")
    return broken
