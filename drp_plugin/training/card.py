"""The data card: what a set holds and where it comes from, for people and for programs."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import jinja2

import drp_plugin
from drp_plugin.training.sources import Dropped

if TYPE_CHECKING:
    from drp_plugin.training.mixing import Fit
    from drp_plugin.training.sft_set import SetSettings

LICENCES = {"gsm8k": "GSM8K questions: MIT", "prm12k": "PRM12K questions (MATH): MIT",
            "math": "MATH questions: MIT"}
_LENGTHS = ("tokens_per_row", "response_tokens_before", "response_tokens_after",
            "characters_per_response")

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


@dataclass
class Sums:
    """What the rows of a set add up to, one by one in its order."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lengths: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    questions: set[bytes] = field(default_factory=set)
    edited: dict[str, str] = field(default_factory=dict)  # By id: how, and its tokens
    overlaps: list[tuple[str, str, float]] = field(default_factory=list)

    def add(self, question: bytes, row: "Fit", characters: int, facts: Mapping[str, Any]) -> None:
        """Count a row in; `question` is a hash of its question."""
        group, source, tokens = row.group, row.source, row.tokens
        self.questions.add(question)
        self.counts["sources"][group] += 1
        self.counts["files"][source] += 1
        for title, key in (("students", "model"), ("teachers", "teacher"), ("prompts", "prompt"),
                           ("prompts_hash", "prompts_hash")):
            self.counts[title][str(facts.get(key, "not recorded"))] += 1
        if "overlap" in facts:
            self.overlaps.append(tuple(facts["overlap"]))
        lengths = (tokens, facts.get("tokens_before"), facts.get("tokens_after"), characters)
        for title, length in zip(_LENGTHS, lengths, strict=True):
            if length is not None:
                self.lengths[title].append(length)
        if "edited" in facts:
            self.edited[row.id] = (f"{facts['tokens_before']} → {facts['tokens_after']} tokens, "
                                   f"{facts['edited']}")


def describe(settings: "SetSettings", sums: Sums, dropped: Sequence[Dropped], rows_in: int,
             tokenizer: str | None) -> dict[str, Any]:
    """The card as one JSON object. It holds no date, so that equal builds are equal files."""
    counts = {title: dict(counter.most_common()) for title, counter in sums.counts.items()}
    counted = sums.lengths["tokens_per_row"]
    return {
        "name": settings.name,
        "made_by": f"drp-plugin {drp_plugin.__version__}",
        "format": "sharegpt preference pairs" if settings.pairs else "sharegpt",
        "template": settings.template,
        "rows_in": rows_in,
        "rows": sum(counts["sources"].values()),
        "questions": len(sums.questions),
        "dropped": tally(d.reason for d in dropped),
        **{title: group for title, group in counts.items() if title != "files"},
        "files": sorted(counts["files"]),
        "edited": sums.edited,
        "licences": sorted({text for group in counts["sources"] for key, text in LICENCES.items()
                            if group.lower().startswith(key)}),
        "seed": settings.seed, "size": settings.size,
        "ratio": dict(settings.ratio) if settings.ratio else None,
        "test_sets": list(settings.test_sets),
        "overlap": [{"id": id_, "test": test, "similarity": similarity}
                    for id_, test, similarity in sorted(sums.overlaps, key=lambda o: -o[2])],
        "cutoff_len": settings.cutoff_len,
        "over_cutoff": sum(n > settings.cutoff_len for n in counted) if counted else None,
        "tokenizer": tokenizer,
        **{title: spread(sums.lengths[title]) for title in _LENGTHS},
    }


def markdown(facts: Mapping[str, Any]) -> str:
    """The card for people; with the header that the Hugging Face hub reads."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("drp_plugin", "data"), trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True).get_template("card.md.jinja").render(facts)
