"""Checks of the rows as text: the thinking, the answer, and the prompt that is trained."""

import contextlib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drp_plugin.errors import UserError
from drp_plugin.grading import extract
from drp_plugin.resources import resource
from drp_plugin.student import model_path
from drp_plugin.thinking import CLOSE, OPEN
from drp_plugin.training.preflight.findings import Parsed, Preflight
from drp_plugin.training.preflight.weights import Base
from drp_plugin.training.templates import BARE, EVALUATED, asking

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass
class Faults:
    """How many rows have each fault, and the first one that has it."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, code: str, row: dict[str, Any]) -> None:
        """Count one row in; its `_place` is `SET:ROW`, the row from 0."""
        self.counts[code] += 1
        name, _, number = row["_place"].rpartition(":")
        self.first.setdefault(code, f"row {number} of {name!r}")


MENDS = "Build the set with `drp build`, which mends such rows or leaves them out"


def _gives_away(prompt: str, response: str) -> bool:
    """Whether the prompt states the final answer, or holds the response's own answer part."""
    answer = response.rpartition(CLOSE)[2]
    flat = " ".join(answer.split())
    if len(flat) >= 20 and flat in " ".join(prompt.split()):
        return True
    final = extract(answer, thinking=False)
    if final.text is None or final.how == "last_number":
        return False
    gold = re.escape(final.text)
    return bool(re.search(
        rf"\\boxed\{{\s*{gold}\s*\}}|####\s*{gold}(?!\w)"
        rf"|(?:answer|solution|result|gold)\s*(?:\)|\])?\s*(?:is|:|=)\s*:?\s*[\$\*\(\[]*"
        rf"{gold}(?!\w)(?!\.\d)", prompt, re.IGNORECASE))


def _faults(prompt: str, response: str, marks: tuple[str, ...]) -> list[str]:
    """The findings of one row."""
    found = [] if prompt.strip() else ["empty_prompt"]
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
    if _gives_away(prompt, response):
        found.append("gold_in_prompt")
    return found


def check_texts(rows: "Dataset", parsed: Parsed, base: Base, report: Preflight) -> set[int]:
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
            for code in _faults(str(prompt[-1]["content"]), str(answer["content"] or ""), marks):
                tally.add(code, row)
        if any(not isinstance(message["content"], str) for message in (*prompt, *response)):
            broken.add(number)
    for code, count in tally.counts.items():
        report.add(code, count=count, total=len(rows), first=tally.first[code], mends=MENDS)
    return broken


def _frame(prompt: str) -> tuple[str, str]:
    """What a prompt puts before and behind a question."""
    return asking(prompt)("a\0a").partition("a\0a")[::2]


def _sets_itself(tokenizer: Any, system: str) -> bool:
    """Whether the chat template puts this system prompt before a bare question by itself."""
    turns = [{"role": "system", "content": system}, {"role": "user", "content": "Q"}]
    with contextlib.suppress(Exception):  # a template may raise anything, from inside Jinja
        whole, bare = (tokenizer.apply_chat_template(t, tokenize=False) for t in (turns, turns[1:]))
        return bool(whole == bare)
    return False


def check_prompt(parsed: Parsed, rows: "Dataset", skip: set[int], asked: str | None, tokenizer: Any,
                 report: Preflight) -> None:
    """Compare the rows' prompt and that which `asked` names, else that of the tasks: `eval_boxed`,
    for the embedded student the bare question. Raises UserError for a prompt that there is not."""
    if asked is None:
        embedded = Path(str(parsed.model.model_name_or_path)).resolve() == model_path().resolve()
        asked = BARE if embedded else EVALUATED
    wanted, frames = _frame(asked), {("", ""): BARE}
    for name in [*(f.stem for f in sorted(resource("prompts").glob("eval_*.jinja"))), asked]:
        try:
            frames.setdefault(_frame(name), name)
        except UserError:  # it needs more than the question
            continue
    longest_first = sorted(frames.items(), key=lambda item: -len("".join(item[0])))
    trained: Counter[str] = Counter()
    systems: Counter[str] = Counter()
    for number, row in enumerate(rows):
        if number not in skip:
            systems[row["_system"] or parsed.data.default_system or ""] += 1
            text = str(row["_prompt"][0]["content"])
            trained[next(name for (before, behind), name in longest_first
                         if text.startswith(before) and text.endswith(behind))] += 1
    report.facts["trained_prompts"] = dict(trained)
    other = {name: n for name, n in trained.items() if name != frames[wanted]}
    bare, called = wanted == ("", ""), {BARE: "the bare question"}
    if other:
        report.add("prompt_not_evaluated", count=sum(other.values()), total=len(rows),
                   trained=", ".join(called.get(name, name) for name in other),
                   asked=called[BARE] if bare else f"{asked} ({''.join(wanted).strip()})",
                   build=BARE if bare else asked)
    if named := [text for text in systems if text and not _sets_itself(tokenizer, text)]:
        report.add("system_not_evaluated", count=sum(systems[s] for s in named), total=len(rows),
                   system=named[0][:60])
