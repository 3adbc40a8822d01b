"""Checks of tokenizer, template and encoded rows: is training what inference will see?"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drp_plugin.thinking import CLOSE, OPEN
from drp_plugin.training.preflight.findings import Parsed, Preflight, TrainedRow
from drp_plugin.training.preflight.framework import OWN_SYSTEM, encode
from drp_plugin.training.preflight.textchecks import Faults
from drp_plugin.training.preflight.weights import Base

if TYPE_CHECKING:
    from datasets import Dataset

MASK = -100
PROBE = "First, 12 + 30 = 42.\n\nWait, let me check:\n  12 + 30 = 42. So x  = 42.\n"


def check_tokenizer(base: Base, rows: Any, report: Preflight) -> None:
    """Does text come back from its ids, and does the tokenizer belong to the model?"""
    def spaces(text: str) -> str:
        return "".join(c for c in text if c.isspace())

    tokenizer = base.pristine
    texts = [str(row["_response"][0]["content"]) for row in rows if row["_response"]]
    for text in [PROBE, *texts]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if text is PROBE and tokenizer.unk_token_id in ids:
            continue  # a small vocabulary that does not know the probe's words; rows decide
        back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if spaces(back) != spaces(unicodedata.normalize("NFC", text)):
            import transformers

            return report.add("tokenizer_loses_space", version=transformers.__version__)
    size = getattr(base.config, "vocab_size", None)
    if size is not None and (len(tokenizer) > size or size > 2 * len(tokenizer)):
        report.add("wrong_tokenizer:larger" if len(tokenizer) > size else "wrong_tokenizer",
                   tokens=len(tokenizer), size=size)


def check_layout(parsed: Parsed, base: Base, report: Preflight) -> None:
    """Are the control tokens of the template the tokenizer's own, and is EOS what it was?"""
    used, pristine, name = base.used, base.pristine, parsed.data.template
    if used.eos_token_id != pristine.eos_token_id:
        if used.eos_token_id not in base.stops:
            report.add("eos_changed", template=name, old=pristine.eos_token, new=used.eos_token)
    elif base.stops and pristine.eos_token_id not in base.stops:
        report.add("wrong_tokenizer:eos", eos=pristine.eos_token, id=pristine.eos_token_id,
                   stops=", ".join(map(str, base.stops)))
    if len(used) > len(pristine):
        report.add("tokens_added", template=name, count=len(used) - len(pristine))
    split = [mark for mark in (*(base.layout.marks() if base.layout else ()), OPEN, CLOSE)
             if len(pristine.encode(mark, add_special_tokens=False)) != 1]
    if split and split[0] not in (OPEN, CLOSE):
        report.add("wrong_tokenizer:mark", mark=split[0], template=name)
    elif split:
        report.add("think_is_text", tag=split[0])


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
    """What inference sends for a row, with its or the YAML's system prompt; None: it fails."""
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
    trained: int = 0  # tokens with a label
    cut_answers: int = 0  # rows that `cutoff_len` cuts before `</think>`
    difference: str = ""
    prefilled: bool | None = None

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
            if not trained:
                self.faults.add("nothing_trained", row)
                continue
            masked = next(i for i, label in enumerate(labels) if label != MASK)
            if masked == 0:
                self.faults.add("prompt_trained", row)
            if not self.ends.intersection(trained[-3:]):
                self.faults.add("no_eos", row)
            if self.compare:
                self._compare(row, ids, masked)
            if len(ids) > self.parsed.data.cutoff_len:
                self.faults.add("cut_rows", row)
                (_, cut), *_ = encode(self.parsed, self.base.template, used, row,
                                      self.parsed.data.cutoff_len)
                self.cut_answers += CLOSE not in used.decode([i for i in cut if i != MASK])
        return sides

    def _compare(self, row: dict[str, Any], ids: list[int], masked: int) -> None:
        """Does the row begin with what inference sends?"""
        wanted = inference_prompt(self.base.pristine, row, self.parsed.data.default_system)
        if wanted is None:
            self.compare = False
            return self.faults.add("bad_chat_template", row)
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


def check_encoded(parsed: Parsed, rows: "Dataset", skip: set[int], base: Base, report: Preflight, *,
                  max_cut: float, examples: int, tick: Callable[[], None]) -> None:
    """Encode every row as training does and compare it with what inference sends and stops at."""
    seen = Encoded(parsed, base)
    for number, row in enumerate(rows):
        tick()
        if number not in skip:
            sides = seen.add(row)
            if len(report.examples) < examples:
                report.examples.append(seen.example(row, *sides[0]))
    counts, first, total = seen.faults.counts, seen.faults.first, len(rows)
    stops = ", ".join(repr(base.used.decode([e])) for e in sorted(seen.ends))
    for code in ("bad_chat_template", "prompt_differs", "prompt_trained", "nothing_trained",
                 "no_eos"):
        if code in counts:
            report.add(code, count=counts[code], total=total, first=first[code],
                       difference=seen.difference, stops=stops)
    if cut := counts["cut_rows"]:
        share = 100 * cut / total
        report.add("cut_rows" if share > max_cut else "cut_rows:allowed", count=cut, total=total,
                   share=share, size=parsed.raw.get("cutoff_len", parsed.data.cutoff_len),
                   answers=seen.cut_answers, longest=max(seen.lengths),
                   cutoff=parsed.data.cutoff_len, template=parsed.data.template)
    if base.pristine.chat_template is None:
        report.add("no_chat_template")
    report.facts |= {
        "rows": total, "cut_rows": cut, "tokens_max": max(seen.lengths, default=0),
        "tokens_mean": round(sum(seen.lengths) / max(1, len(seen.lengths)), 1),
        "trained_tokens": seen.trained, "prefilled_think": seen.prefilled}
