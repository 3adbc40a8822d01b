"""The data card: what a set holds and where it comes from, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from drp_plugin import __version__
from drp_plugin.training.sources import Candidate, Dropped

if TYPE_CHECKING:
    from drp_plugin.training.sft_set import Settings

LICENCES = {
    "gsm8k": "GSM8K questions: MIT",
    "prm12k": "PRM12K questions (MATH): MIT",
    "math": "MATH questions: MIT",
}
NOTE = ("The responses were written by the student model and revised by the teacher model named "
        "above. The licences and terms of use of both, and of the questions' sources, hold for "
        "this set; check them before you publish it.")


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


def describe(settings: Settings, chosen: Sequence[Candidate], dropped: Sequence[Dropped],
             rows_in: int, lengths: Mapping[int, int], tokenizer: str | None) -> dict[str, Any]:
    """The card as one JSON object. It holds no date, so that equal builds are equal files."""
    before = [c.facts["tokens_before"] for c in chosen if "tokens_before" in c.facts]
    after = [c.facts["tokens_after"] for c in chosen if "tokens_after" in c.facts]
    counted = [lengths[id(c)] for c in chosen if id(c) in lengths]
    groups = tally(c.group for c in chosen)
    return {
        "name": settings.name,
        "made_by": f"drp-plugin {__version__}",
        "format": "sharegpt preference pairs" if settings.pairs else "sharegpt",
        "template": settings.template,
        "rows_in": rows_in,
        "rows": len(chosen),
        "questions": len({c.question for c in chosen}),
        "dropped": tally(d.reason for d in dropped),
        "sources": groups,
        "files": sorted({c.source for c in chosen}),
        "students": tally(c.facts.get("model", "not recorded") for c in chosen),
        "teachers": tally(c.facts.get("teacher", "not recorded") for c in chosen),
        "prompts_hash": tally(c.facts.get("prompts_hash", "not recorded") for c in chosen),
        "licences": sorted({text for group in groups for key, text in LICENCES.items()
                            if group.lower().startswith(key)}),
        "seed": settings.seed, "size": settings.size,
        "ratio": dict(settings.ratio) if settings.ratio else None,
        "cutoff_len": settings.cutoff_len,
        "over_cutoff": sum(n > settings.cutoff_len for n in counted) if counted else None,
        "tokenizer": tokenizer,
        "tokens_per_row": spread(counted),
        "response_tokens_before": spread(before),
        "response_tokens_after": spread(after),
        "characters_per_response": spread([len(c.response) for c in chosen]),
    }


def _lines(title: str, counts: Mapping[str, int]) -> list[str]:
    return [f"## {title}", "", *(f"- {name}: {number}" for name, number in counts.items()), ""]


def markdown(facts: Mapping[str, Any]) -> str:
    """The card for people; with the header that the Hugging Face hub reads."""
    out = ["---", "language:", "- en", "task_categories:", "- text-generation", "tags:",
           "- reasoning", "- distilled-reasoning-pruning", "- llama-factory", "configs:",
           "- config_name: default", f"  data_files: {facts['name']}.json", "---", "",
           f"# {facts['name']}", "",
           f"{facts['rows']} rows over {facts['questions']} questions, made by "
           f"{facts['made_by']} from {facts['rows_in']} rows in the `{facts['format']}` format of "
           f"LLaMA-Factory, for `template: {facts['template']}`.", "",
           "Shuffled with seed "
           f"{facts['seed']}; not split: let `val_size` in the YAML split it.", ""]
    out += _lines("Sources", facts["sources"])
    if facts["ratio"]:
        asked = ", ".join(f"{k}={v:g}" for k, v in facts["ratio"].items())
        out += [f"Ratio asked for: {asked}", ""]
    out += _lines("Student", facts["students"])
    out += _lines("Teacher", facts["teachers"])
    out += _lines("Prompts, by hash", facts["prompts_hash"])
    out += ["## Lengths", ""]
    for title, key in (("Tokens of a row, prompt and response", "tokens_per_row"),
                       ("Tokens of the student's original response", "response_tokens_before"),
                       ("Tokens of the pruned response", "response_tokens_after"),
                       ("Characters of a response", "characters_per_response")):
        if facts[key]:
            out.append(f"- {title}: " + ", ".join(f"{k} {v:g}" for k, v in facts[key].items()))
    out += [f"- Cutoff: {facts['cutoff_len']} tokens; rows over it: "
            + ("not counted (no tokenizer was given)" if facts["over_cutoff"] is None
               else str(facts["over_cutoff"])), ""]
    out += _lines("Left out", facts["dropped"]) if facts["dropped"] else []
    out += ["## Licence", "", *(f"- {text}" for text in facts["licences"])]
    out += ["", NOTE, ""]
    return "\n".join(out)
