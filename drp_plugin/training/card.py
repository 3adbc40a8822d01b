"""The data card: what a set holds and where it comes from, for people and for programs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import jinja2

import drp_plugin
from drp_plugin.training.mixing import Fit
from drp_plugin.training.sources import Dropped

if TYPE_CHECKING:
    from drp_plugin.training.sft_set import SetSettings

LICENCES = {"gsm8k": "GSM8K questions: MIT", "prm12k": "PRM12K questions (MATH): MIT",
            "math": "MATH questions: MIT"}
_COUNTED = {"students": "model", "teachers": "teacher", "prompts": "prompt",
            "prompts_hash": "prompts_hash"}


def tally(values: Iterable[Any]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return dict(Counter(str(v) for v in values).most_common())


def spread(values: Sequence[int]) -> dict[str, float] | None:
    """Mean, median, 95th percentile and maximum; None for nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return {"mean": round(mean(ordered), 1), "median": median(ordered),
            "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], "max": ordered[-1]}


def describe(settings: "SetSettings", rows: Iterable[tuple[Fit, Any]], dropped: Sequence[Dropped],
             rows_in: int, tokenizer: str | None) -> dict[str, Any]:
    """The card as one JSON object, of the set's rows with the hash of the question, the characters
    and the facts of each. It holds no date, so that equal builds are equal files."""
    counts = {title: Counter[str]() for title in ("sources", *_COUNTED)}
    lengths: dict[str, list[int]] = {title: [] for title in (
        "tokens_per_row", "response_tokens_before", "response_tokens_after",
        "characters_per_response")}
    questions, files, edited, overlap = set(), set(), {}, []
    for row, (question, characters, facts) in rows:
        questions.add(bytes.fromhex(question))
        files.add(row.source)
        counts["sources"][row.group] += 1
        for title, key in _COUNTED.items():
            counts[title][str(facts.get(key, "not recorded"))] += 1
        before, after = facts.get("tokens_before"), facts.get("tokens_after")
        for of_title, length in zip(lengths.values(), (row.tokens, before, after, characters),
                                    strict=True):
            if length is not None:
                of_title.append(length)
        if "overlap" in facts:
            overlap.append(dict(zip(("id", "test", "similarity"), facts["overlap"], strict=True)))
        if "edited" in facts:
            edited[row.id] = f"{before} → {after} tokens, {facts['edited']}"
    return {
        "name": settings.name,
        "made_by": f"drp-plugin {drp_plugin.__version__}",
        "format": "sharegpt preference pairs" if settings.pairs else "sharegpt",
        "template": settings.template,
        "rows_in": rows_in,
        "rows": counts["sources"].total(),
        "questions": len(questions),
        "dropped": tally(d.reason for d in dropped),
        **{title: dict(counter.most_common()) for title, counter in counts.items()},
        "files": sorted(files),
        "edited": edited,
        "licences": sorted({text for group in counts["sources"] for key, text in LICENCES.items()
                            if group.lower().startswith(key)}),
        "seed": settings.seed, "size": settings.size,
        "ratio": dict(settings.ratio) if settings.ratio else None,
        "test_sets": list(settings.test_sets),
        "overlap": sorted(overlap, key=lambda o: -o["similarity"]),
        "cutoff_len": settings.cutoff_len,
        "over_cutoff": sum(n > settings.cutoff_len for n in lengths["tokens_per_row"])
        if lengths["tokens_per_row"] else None,
        "tokenizer": tokenizer,
        **{title: spread(found) for title, found in lengths.items()},
    }


def markdown(facts: Mapping[str, Any]) -> str:
    """The card for people; with the header that the Hugging Face hub reads."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("drp_plugin", "data"), trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True).get_template("card.md.jinja").render(facts)
