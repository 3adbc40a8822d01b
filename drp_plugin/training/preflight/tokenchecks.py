"""Checks of tokenizer, template and encoded rows: is training what inference will see?"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drp_plugin.thinking import CLOSE, OPEN
from drp_plugin.training.preflight.findings import Preflight, TrainedRow
from drp_plugin.training.preflight.framework import OWN_SYSTEM, encode
from drp_plugin.training.preflight.parsed import Parsed
from drp_plugin.training.preflight.textchecks import Faults
from drp_plugin.training.preflight.weights import Base

if TYPE_CHECKING:
    from datasets import Dataset

MASK = -100
PROBE = "First, 12 + 30 = 42.\n\nWait, let me check:\n  12 + 30 = 42. So x  = 42.\n"


def _spaces(text: str) -> str:
    return "".join(c for c in text if c.isspace())


def check_tokenizer(base: Base, rows: Any, report: Preflight) -> None:
    """Does text come back from its ids, and does the tokenizer belong to the model?"""
    tokenizer = base.pristine
    texts = [str(row["_response"][0]["content"]) for row in rows if row["_response"]]
    for text in [PROBE, *texts]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if text is PROBE and tokenizer.unk_token_id in ids:
            continue  # a small vocabulary that does not know the probe's words; rows decide
        back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if _spaces(back) != _spaces(unicodedata.normalize("NFC", text)):
            import transformers

            report.error("tokenizer_loses_space", "decode(encode(text)) loses white space: the "
                         f"student would learn text without it (transformers "
                         f"{transformers.__version__}; 5.6.0, 5.6.2 and 5.7.0 do this to "
                         "R1-Distill). Install transformers 4.57.6 or 5.5.4")
            return
    size = getattr(base.config, "vocab_size", None)
    if size is not None and (len(tokenizer) > size or size > 2 * len(tokenizer)):
        report.error("wrong_tokenizer", f"the tokenizer has {len(tokenizer)} tokens, the model "
                     f"embeds {size}: it is another model's"
                     + (", or tokens were added" if len(tokenizer) > size else ""))


def check_layout(parsed: Parsed, base: Base, report: Preflight) -> None:
    """Are the control tokens of the template the tokenizer's own, and is EOS what it was?"""
    used, pristine, name = base.used, base.pristine, parsed.data.template
    if used.eos_token_id != pristine.eos_token_id:
        if used.eos_token_id not in base.stops:
            report.error("eos_changed", f"template {name!r} changes EOS from "
                         f"{pristine.eos_token!r} to {used.eos_token!r}, at which generation does "
                         "not stop: take the student's own template")
    elif base.stops and pristine.eos_token_id not in base.stops:
        report.error("wrong_tokenizer", f"EOS of the tokenizer is {pristine.eos_token!r} "
                     f"(id {pristine.eos_token_id}), the model stops at "
                     f"{', '.join(map(str, base.stops))}: tokenizer and model do not belong "
                     "together")
    if len(used) > len(pristine):
        report.error("tokens_added", f"template {name!r} adds "
                     f"{len(used) - len(pristine)} tokens that the student does not know: take "
                     "the student's own template")
    split = [mark for mark in (*(base.layout.marks() if base.layout else ()), OPEN, CLOSE)
             if len(pristine.encode(mark, add_special_tokens=False)) != 1]
    if split and split[0] not in (OPEN, CLOSE):
        report.error("wrong_tokenizer", f"{split[0]} is no single token of this tokenizer: it is "
                     f"not that of a {name!r} model")
    elif split:
        report.info("think_is_text", f"this student has no token {split[0]}: it learns the tag as "
                    "text, of several tokens")


def first_difference(tokenizer: Any, ours: list[int], theirs: list[int]) -> str:
    """Where two id sequences part, as text."""
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
              min(len(ours), len(theirs)))
    start = max(0, at - 3)

    def show(ids: list[int]) -> str:
        return repr(tokenizer.decode(ids[start:at + 4])) if ids[at:] else "its end"

    return f"training has {show(ours)}, the chat template {show(theirs)} (token {at})"


def inference_prompt(tokenizer: Any, row: dict[str, Any],
                     default_system: str | None) -> list[int] | None:
    """The ids that inference sends for a row's question; None when its template fails.

    A system prompt that the row or the YAML names is sent as well; one of LLaMA-Factory's
    template is the chat template's own, or a difference.
    """
    messages = [{"role": m["role"], "content": m["content"]} for m in row["_prompt"]]
    system = row["_system"] or default_system
    if system and not system.endswith(OWN_SYSTEM):
        messages = [{"role": "system", "content": system}, *messages]
    try:
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    except Exception:  # a template may raise anything, from inside Jinja
        return None
    return list(ids["input_ids"] if hasattr(ids, "keys") else ids)


@dataclass
class Encoded:
    """What the rows are as ids, added up row by row."""

    parsed: Parsed
    base: Base
    faults: Faults = field(default_factory=Faults)
    lengths: list[int] = field(default_factory=list)
    trained: int = 0
    """Tokens with a label."""
    cut_answers: int = 0
    """Rows that `cutoff_len` cuts before `</think>`."""
    difference: str = ""
    prefilled: bool | None = None
    compare: bool = True

    def __post_init__(self) -> None:
        self.compare = self.base.pristine.chat_template is not None
        self.ends = set(self.base.stops) or {self.base.pristine.eos_token_id}

    def add(self, row: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
        """Count a row in; returns its ids and labels, uncut, for each of its responses."""
        used = self.base.used
        sides = encode(self.parsed, self.base.template, used, row)
        for ids, labels in sides:
            self.lengths.append(len(ids))
            trained = [i for i in labels if i != MASK]
            self.trained += len(trained)
            masked = next((i for i, label in enumerate(labels) if label != MASK), len(labels))
            if not trained:
                self.faults.add("nothing_trained", row)
                continue
            if masked == 0:
                self.faults.add("prompt_trained", row)
            if not self.ends.intersection(trained[-3:]):
                self.faults.add("no_eos", row)
            self._compare(row, ids, masked)
            if len(ids) > self.parsed.data.cutoff_len:
                self.faults.add("cut_rows", row)
                (_, cut), *_ = encode(self.parsed, self.base.template, used, row,
                                      self.parsed.data.cutoff_len)
                self.cut_answers += CLOSE not in used.decode([i for i in cut if i != MASK])
        return sides

    def _compare(self, row: dict[str, Any], ids: list[int], masked: int) -> None:
        """Does the row begin with what inference sends?"""
        if not self.compare:
            return
        wanted = inference_prompt(self.base.pristine, row, self.parsed.data.default_system)
        if wanted is None:
            self.compare = False
            self.faults.add("bad_chat_template", row)
            return
        if self.prefilled is None:
            self.prefilled = OPEN in self.base.pristine.decode(wanted[-8:])
        if ids[:len(wanted)] != wanted or len(wanted) < masked:
            self.faults.add("prompt_differs", row)
            self.difference = self.difference or first_difference(self.base.used, ids, wanted)

    def example(self, row: dict[str, Any], ids: list[int], labels: list[int]) -> TrainedRow:
        """The row as the student sees it."""
        kept = min(len(ids), self.parsed.data.cutoff_len)
        pairs = list(zip(ids, labels, strict=True))
        return TrainedRow(self.base.used.decode([i for i, m in pairs if m == MASK]),
                       self.base.used.decode([i for i, m in pairs if m != MASK]),
                       f"{row['_place'].replace(':', ' row ')}, {len(ids)} tokens"
                       + (f", cut to {kept}" if kept < len(ids) else ""))


def check_encoded(parsed: Parsed, rows: Dataset, skip: set[int], base: Base, report: Preflight, *,
                  max_cut: float = 0.0, examples: int = 2,
                  tick: Callable[[], None] = lambda: None) -> None:
    """Encode every row as training does and compare it with what inference sends and stops at."""
    seen = Encoded(parsed, base)
    for number, row in enumerate(rows):
        tick()
        if number not in skip:
            sides = seen.add(row)
            if len(report.examples) < examples:
                report.examples.append(seen.example(row, *sides[0]))
    _report(seen, len(rows), max_cut, report)
    report.facts |= {
        "rows": len(rows), "cut_rows": seen.faults.counts.get("cut_rows", 0),
        "tokens_max": max(seen.lengths, default=0),
        "tokens_mean": round(sum(seen.lengths) / max(1, len(seen.lengths)), 1),
        "trained_tokens": seen.trained, "prefilled_think": seen.prefilled}


def _report(seen: Encoded, total: int, max_cut: float, report: Preflight) -> None:
    counts, first, data = seen.faults.counts, seen.faults.first, seen.parsed.data
    stops = ", ".join(repr(seen.base.used.decode([e])) for e in sorted(seen.ends))
    for code, text in (
        ("bad_chat_template", "the tokenizer's chat template cannot render it (a question, with "
                              "its system prompt): it is another model's, or broken"),
        ("prompt_differs", "the prompt of training is not that of the tokenizer's chat template: "
                           f"{seen.difference}. Take the student's own template"),
        ("prompt_trained", "the prompt is trained as well: remove train_on_prompt"),
        ("nothing_trained", "no token is trained"),
        ("no_eos", f"the trained part does not end with a token that stops generation ({stops}): "
                   "take the student's own template"),
    ):
        if code in counts:
            report.error(code, f"{counts[code]} of {total} rows (first: {first[code]}): {text}")
    if rows_cut := counts.get("cut_rows", 0):
        share = 100 * rows_cut / max(1, total)
        size = seen.parsed.raw.get("cutoff_len", data.cutoff_len)
        what = (f"{rows_cut} of {total} rows ({share:.1f} %) are longer than cutoff_len {size} and "
                f"are cut, {seen.cut_answers} of them before {CLOSE} (longest: "
                f"{max(seen.lengths)} tokens). `drp build --tokenizer PATH --cutoff-len "
                f"{data.cutoff_len} --template {data.template}` leaves them out")
        (report.error if share > max_cut else report.info)("cut_rows", what)
    if seen.base.pristine.chat_template is None:
        report.warn("no_chat_template", "the tokenizer has no chat template: what inference will "
                    "send cannot be compared")
