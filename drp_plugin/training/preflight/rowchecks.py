"""Checks of every row, as text and as ids: does training match what inference will send and see?"""

import contextlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.grading import extract
from drp_plugin.resources import resource
from drp_plugin.student import model_path
from drp_plugin.thinking import CLOSE, OPEN
from drp_plugin.training.preflight.files import first_line
from drp_plugin.training.preflight.findings import WORDS, Preflight, TrainedRow
from drp_plugin.training.preflight.framework import OWN_SYSTEM, encode, kept
from drp_plugin.training.templates import BARE, EVALUATED, asking

MASK = -100
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


def faults(prompt: str, response: str, marks: tuple[str, ...]) -> list[str]:
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


def _frame(prompt: str) -> tuple[str, str]:
    return asking(prompt)("a\0a").partition("a\0a")[::2]


def _frames(asked: str) -> dict[tuple[str, str], str]:
    """The prompts that rows may be trained on, by their frames, the longest first."""
    frames = {("", ""): BARE}
    for name in [*(f.stem for f in sorted(resource("prompts").glob("eval_*.jinja"))), asked]:
        with contextlib.suppress(UserError):  # it needs more than the question
            frames.setdefault(_frame(name), name)
    return dict(sorted(frames.items(), key=lambda item: -len("".join(item[0]))))


def _sets_itself(tokenizer: Any, system: str) -> bool:
    """Whether the chat template itself puts this system prompt before a bare question."""
    turns = [{"role": "system", "content": system}, {"role": "user", "content": "Q"}]
    with contextlib.suppress(Exception):  # a template may raise anything, from inside Jinja
        whole, bare = (tokenizer.apply_chat_template(t, tokenize=False) for t in (turns, turns[1:]))
        return bool(whole == bare)
    return False


def _inference_prompt(tokenizer: Any, row: dict[str, Any], system: str) -> list[int] | None:
    """What inference sends for a row under this system prompt; None where the template fails."""
    messages = [{"role": m["role"], "content": m["content"]} for m in row["_prompt"]]
    if system and not system.endswith(OWN_SYSTEM):
        messages = [{"role": "system", "content": system}, *messages]
    try:
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    except Exception:  # a template may raise anything, from inside Jinja
        return None
    return list(ids["input_ids"] if hasattr(ids, "keys") else ids)


def _first_difference(tokenizer: Any, ours: list[int], theirs: list[int]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
              min(len(ours), len(theirs)))

    def show(ids: list[int]) -> str:
        return repr(tokenizer.decode(ids[max(0, at - 3):at + 4])) if ids[at:] else "its end"

    return f"training has {show(ours)}, the chat template {show(theirs)} (token {at})"


class _Tally:
    """The totals over the rows, one by one."""

    def __init__(self, case: Preflight, asked: str) -> None:
        self.case, self.asked, self.frames = case, asked, _frames(asked)
        self.marks = case.layout.marks() if case.layout else ()
        self.ends = set(case.stops) or {case.pristine.eos_token_id}
        self.compare = case.pristine.chat_template is not None
        self.counts: Counter[str] = Counter()  # rows with each fault
        self.first: dict[str, str] = {}  # the first one that has it
        self.prompts: Counter[str] = Counter()
        self.systems: Counter[str] = Counter()
        self.lengths: list[int] = []
        self.trained = 0  # tokens with a label
        self.cut_answers = 0  # rows that `cutoff_len` cuts before `</think>`
        self.difference = self.refusal = ""
        self.prefilled: bool | None = None

    def fault(self, code: str, row: dict[str, Any]) -> None:
        """Count a row in; its `_place` is `SET:ROW`, the row from 0."""
        self.counts[code] += 1
        name, _, number = row["_place"].rpartition(":")
        self.first.setdefault(code, f"row {number} of {name!r}")

    def text(self, row: dict[str, Any]) -> bool:
        """Look at a row's text; False where it cannot even be encoded."""
        prompt, response = row["_prompt"], row["_response"]
        if not kept(self.case, row):
            self.fault("bad_row", row)
            return False
        for answer in response:
            for code in faults(str(prompt[-1]["content"] or ""), str(answer["content"] or ""),
                               self.marks):
                self.fault(code, row)
        return True

    def ids(self, row: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
        """Encode a row as training does and compare it with what inference sends and stops at.
        Returns its ids and labels, uncut, for each of its responses; none where training dies."""
        try:
            sides = encode(self.case, row)
        except Exception as error:  # whatever a template or formatter raises
            self.refusal = self.refusal or first_line(error)
            self.fault("not_encoded", row)
            return []
        system, text = row["_system"] or self.case.data.default_system or "", row["_prompt"][0]
        self.systems[system] += 1
        self.prompts[next(name for (before, behind), name in self.frames.items()
            if text["content"].startswith(before) and text["content"].endswith(behind))] += 1
        for ids, labels in sides:
            self.lengths.append(len(ids))
            trained = [i for i in labels if i != MASK]
            self.trained += len(trained)
            if not trained:
                self.fault("nothing_trained", row)
                continue
            masked = next(i for i, label in enumerate(labels) if label != MASK)
            if masked == 0:
                self.fault("prompt_trained", row)
            if not self.ends.intersection(trained[-3:]):
                self.fault("no_eos", row)
            if self.compare:
                self._compare(row, system, ids, masked)
            if len(ids) > self.case.data.cutoff_len:
                self.fault("cut_rows", row)
                (_, cut), *_ = encode(self.case, row, self.case.data.cutoff_len)
                self.cut_answers += CLOSE not in self.case.used.decode(
                    [i for i in cut if i != MASK])
        return sides

    def _compare(self, row: dict[str, Any], system: str, ids: list[int], masked: int) -> None:
        """Does the row begin with what inference sends?"""
        wanted = _inference_prompt(self.case.pristine, row, system)
        if wanted is None:
            self.compare = False
            return self.fault("bad_chat_template", row)
        if self.prefilled is None:
            self.prefilled = OPEN in self.case.pristine.decode(wanted[-8:])
        if ids[:len(wanted)] != wanted or len(wanted) < masked:
            self.fault("prompt_differs:turns" if row["_prompt"][1:] else "prompt_differs", row)
            self.difference = self.difference or _first_difference(self.case.used, ids, wanted)

    def example(self, row: dict[str, Any], ids: list[int], labels: list[int]) -> TrainedRow:
        cutoff, pairs = self.case.data.cutoff_len, list(zip(ids, labels, strict=True))
        return TrainedRow(self.case.used.decode([i for i, m in pairs if m == MASK]),
                          self.case.used.decode([i for i, m in pairs if m != MASK]),
                          f"{row['_place'].replace(':', ' row ')}, {len(ids)} tokens"
                          + (f", cut to {cutoff}" if cutoff < len(ids) else ""))

    def report(self, total: int, max_cut: float) -> None:
        """Report each fault with its number of rows, and the facts."""
        case, counts, lengths = self.case, self.counts, self.lengths or [0]
        cut = counts["cut_rows"]
        for code in (code for code in WORDS if counts[code] and code != "cut_rows"):
            case.add(code, count=counts[code], total=total, first=self.first[code], mends=MENDS,
                     difference=self.difference, refusal=self.refusal,
                     stops=", ".join(repr(case.used.decode([e])) for e in sorted(self.ends)))
        if cut:
            share = 100 * cut / total
            case.add("cut_rows" if share > max_cut else "cut_rows:allowed", count=cut, total=total,
                     share=share, size=case.raw.get("cutoff_len", case.data.cutoff_len),
                     answers=self.cut_answers, longest=max(lengths),
                     cutoff=case.data.cutoff_len, template=case.data.template)
        if case.pristine.chat_template is None:
            case.add("no_chat_template")
        case.facts |= {"rows": total, "cut_rows": cut, "tokens_max": max(lengths),
            "tokens_mean": round(sum(lengths) / len(lengths), 1), "trained_tokens": self.trained,
            "prefilled_think": self.prefilled, "trained_prompts": dict(self.prompts)}
        self._report_prompts(total)

    def _report_prompts(self, total: int) -> None:
        """Compare the rows' prompts with the one that the student will be asked with."""
        wanted, bare = _frame(self.asked), {BARE: "the bare question"}
        other = {name: n for name, n in self.prompts.items() if name != self.frames[wanted]}
        asked = BARE if wanted == ("", "") else self.asked
        if other:
            self.case.add("prompt_not_evaluated", count=sum(other.values()), total=total,
                          trained=", ".join(bare.get(name, name) for name in other),
                          asked=bare.get(asked, f"{asked} ({''.join(wanted).strip()})"),
                          build=asked)
        if named := [text for text in self.systems
                     if text and not _sets_itself(self.case.pristine, text)]:
            self.case.add("system_not_evaluated", count=sum(self.systems[s] for s in named),
                          total=total, system=named[0][:60])


def check_rows(case: Preflight, *, prompt: str | None, max_cut: float, examples: int,
               tick: Callable[[], None]) -> None:
    """Look at every row. The student will be asked with `prompt`, by default that of the tasks
    (`eval_boxed`, for the embedded student the bare question). Raises UserError."""
    if prompt is None:
        embedded = Path(case.name).resolve() == model_path().resolve()
        prompt = BARE if embedded else EVALUATED
    rows: Any = case.rows
    seen = _Tally(case, prompt)
    for number, row in enumerate(rows):
        tick()
        if not seen.text(row) or not (sides := seen.ids(row)):
            case.broken.add(number)
        elif len(case.examples) < examples:
            case.examples.append(seen.example(row, *sides[0]))
    seen.report(len(rows), max_cut)
