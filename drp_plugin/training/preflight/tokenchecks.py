"""Checks of tokenizer, template and encoded rows: is training what inference will see?"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

from drp_plugin.thinking import CLOSE, OPEN
from drp_plugin.training.preflight.findings import Example, Report
from drp_plugin.training.preflight.framework import Parsed, encode
from drp_plugin.training.preflight.textchecks import Tally
from drp_plugin.training.templates import FAMILIES

MASK = -100
PROBE = "First, 12 + 30 = 42.\n\nWait, let me check:\n  12 + 30 = 42. So x  = 42.\n"


def _spaces(text: str) -> str:
    return "".join(c for c in text if c.isspace())


def check_tokenizer(tokenizer: Any, config: Any, texts: list[str], report: Report) -> None:
    """Does text come back from its ids, and does the tokenizer belong to the model?"""
    for text in [PROBE, *texts[:50]]:
        back = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False),
                                clean_up_tokenization_spaces=False)
        unknown = tokenizer.unk_token_id in tokenizer.encode(text, add_special_tokens=False) \
            if tokenizer.unk_token_id is not None else False
        if text is PROBE and unknown:
            continue  # a small vocabulary that does not know the probe's words; rows decide
        if _spaces(back) != _spaces(unicodedata.normalize("NFC", text)):
            import transformers

            report.error("tokenizer_loses_space", "decode(encode(text)) loses white space: the "
                         f"student would learn text without it (transformers "
                         f"{transformers.__version__}; 5.6.0, 5.6.2 and 5.7.0 do this to "
                         "R1-Distill). Install transformers 4.57.6 or 5.5.4")
            return
    if config is None:
        return
    size = getattr(config, "vocab_size", None)
    if size is not None and len(tokenizer) > size:
        report.error("wrong_tokenizer", f"the tokenizer has {len(tokenizer)} tokens, the model "
                     f"embeds {size}: it is another model's, or tokens were added")
    elif size is not None and size > 2 * len(tokenizer):
        report.error("wrong_tokenizer", f"the tokenizer has {len(tokenizer)} tokens, the model "
                     f"embeds {size}: it is another model's")


def check_layout(parsed: Parsed, template: Any, used: Any, pristine: Any, stops: list[int],
                 report: Report) -> None:
    """Are the control tokens of the template the tokenizer's own, and is EOS what it was?"""
    if used.eos_token_id != pristine.eos_token_id:
        if used.eos_token_id not in stops:
            report.error("eos_changed", f"template {parsed.data.template!r} changes EOS from "
                         f"{pristine.eos_token!r} to {used.eos_token!r}, at which generation does "
                         "not stop: take the student's own template")
    elif stops and pristine.eos_token_id not in stops:
        report.error("wrong_tokenizer", f"EOS of the tokenizer is {pristine.eos_token!r} "
                     f"(id {pristine.eos_token_id}), the model stops at "
                     f"{', '.join(map(str, stops))}: tokenizer and model do not belong together")
    if len(used) > len(pristine):
        report.error("tokens_added", f"template {parsed.data.template!r} adds "
                     f"{len(used) - len(pristine)} tokens that the student does not know: take "
                     "the student's own template")
    layout = FAMILIES.get(parsed.data.template or "")
    for mark in (*(layout.marks() if layout else ()), OPEN, CLOSE):
        if len(pristine.encode(mark, add_special_tokens=False)) != 1:
            report.error("wrong_tokenizer", f"{mark} is no single token of this tokenizer: it is "
                         f"not that of a {parsed.data.template!r} model")
            break


def first_difference(tokenizer: Any, ours: list[int], theirs: list[int]) -> str:
    """Where two id sequences part, as text."""
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
              min(len(ours), len(theirs)))
    start = max(0, at - 3)

    def show(ids: list[int]) -> str:
        return repr(tokenizer.decode(ids[start:at + 4])) if ids[at:] else "its end"

    return f"training has {show(ours)}, the chat template {show(theirs)} (token {at})"


def inference_prompt(tokenizer: Any, row: dict[str, Any]) -> list[int] | None:
    """The ids that inference sends for a row's question; None when its template fails."""
    messages = [{"role": m["role"], "content": m["content"]} for m in row["_prompt"]]
    try:
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    except Exception:  # a template may raise anything, from inside Jinja
        return None
    return list(ids["input_ids"] if hasattr(ids, "keys") else ids)


def check_encoded(parsed: Parsed, rows: list[dict[str, Any]], skip: set[int], template: Any,
                  used: Any, pristine: Any, stops: list[int], report: Report, *,
                  max_cut: float = 0.0, examples: int = 2,
                  tick: Callable[[], None] = lambda: None) -> None:
    """Encode every row as training does and compare it with what inference sends and stops at."""
    tally = Tally()
    lengths: list[int] = []
    trained_tokens = 0
    cut_answers = 0
    shown_difference = ""
    ends = set(stops) or {pristine.eos_token_id}
    think = used.convert_tokens_to_ids(OPEN)
    prefilled: bool | None = None
    compare = pristine.chat_template is not None
    for number, row in enumerate(rows):
        tick()
        if number in skip:
            continue
        sides = encode(parsed, template, used, row)
        for ids, labels in sides:
            lengths.append(len(ids))
            trained = [i for i in labels if i != MASK]
            trained_tokens += len(trained)
            masked = next((i for i, label in enumerate(labels) if label != MASK), len(labels))
            if not trained:
                tally.add("nothing_trained", number)
                continue
            if masked == 0:
                tally.add("prompt_trained", number)
            tail = [i for i in trained[-3:] if i in ends]
            if not tail:
                tally.add("no_eos", number)
            wanted = inference_prompt(pristine, row) if compare else None
            if compare and wanted is None:
                compare = False
                report.error("bad_chat_template", "the tokenizer's chat template cannot render a "
                             "question: it is another model's, or broken")
            if wanted is not None:
                if prefilled is None:
                    prefilled = think in wanted[-3:]
                if ids[:len(wanted)] != wanted or len(wanted) < masked:
                    tally.add("prompt_differs", number)
                    shown_difference = shown_difference or first_difference(used, ids, wanted)
            if len(ids) > parsed.data.cutoff_len:
                tally.add("cut_rows", number)
                (_, cut_labels), *_ = encode(parsed, template, used, row,
                                               parsed.data.cutoff_len)
                text = used.decode([i for i in cut_labels if i != MASK])
                cut_answers += CLOSE not in text
        if len(report.examples) < examples:
            ids, labels = sides[0]
            kept = min(len(ids), parsed.data.cutoff_len)
            report.examples.append(Example(
                used.decode([i for i, m in zip(ids, labels, strict=True) if m == MASK]),
                used.decode([i for i, m in zip(ids, labels, strict=True) if m != MASK]),
                f"row {number}, {len(ids)} tokens"
                + (f", cut to {kept}" if kept < len(ids) else "")))
    total = len(rows)
    for code, text in (
        ("prompt_differs", "the prompt of training is not that of the tokenizer's chat template: "
                           + shown_difference + ". Take the student's own template"),
        ("prompt_trained", "the prompt is trained as well (train_on_prompt)"),
        ("nothing_trained", "no token is trained"),
        ("no_eos", f"the trained part does not end with a token that stops generation "
                   f"({', '.join(repr(used.decode([e])) for e in sorted(ends))})"),
    ):
        if code in tally.counts:
            report.error(code, f"{tally.counts[code]} of {total} rows (first: row "
                         f"{tally.first[code]}): {text}")
    rows_cut = tally.counts.get("cut_rows", 0)
    share = 100 * rows_cut / max(1, total)
    if rows_cut:
        text = (f"{rows_cut} of {total} rows ({share:.1f} %) are longer than cutoff_len "
                f"{parsed.data.cutoff_len} and lose their end, {cut_answers} of them {CLOSE} too "
                f"(longest: {max(lengths)} tokens). `drp build --tokenizer PATH --cutoff-len "
                f"{parsed.data.cutoff_len}` leaves them out")
        (report.error if share > max_cut else report.info)("cut_rows", text)
    if pristine.chat_template is None:
        report.warn("no_chat_template", "the tokenizer has no chat template: what inference will "
                    "send cannot be compared")
    report.facts |= {
        "rows": total, "cut_rows": rows_cut, "tokens_max": max(lengths, default=0),
        "tokens_mean": round(sum(lengths) / max(1, len(lengths)), 1),
        "trained_tokens": trained_tokens, "prefilled_think": prefilled}
