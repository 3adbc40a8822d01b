"""`drp build`: pruned runs in, a registered LLaMA-Factory data set out (§3.3, Appendix B)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.jsonl import replacing
from drp_plugin.reading import Reader
from drp_plugin.shape import Unfit, check_controls, check_question, shaped
from drp_plugin.training import card, dataset_info
from drp_plugin.training.counting import Count, row_tokens
from drp_plugin.training.mixing import mix
from drp_plugin.training.sources import Candidate, Dropped, Why, read_source
from drp_plugin.training.templates import DEFAULT_TEMPLATE, family


@dataclass(frozen=True)
class Settings:
    """What decides the set, besides the rows."""

    name: str
    size: int | None = None
    ratio: Mapping[str, float] | None = None
    seed: int = 42
    template: str = DEFAULT_TEMPLATE
    cutoff_len: int = 4096
    """LLaMA-Factory's limit for prompt and response together, in tokens."""
    keep_over_cutoff: bool = False
    pairs: bool = False
    """Preference pairs (pruned chosen, original rejected) for DPO instead of an SFT set."""


@dataclass(frozen=True)
class Built:
    """What a build made."""

    file: Path
    rows: int
    dropped: list[Dropped]
    card: dict[str, Any]


def first_of(dropped: Iterable[Dropped], reason: str) -> str:
    """File, row and cause of the first row that was left out for this reason."""
    row = next(d for d in dropped if d.reason == reason)
    return f"{row.source}: row {row.row}" + f": {row.detail}" * bool(row.detail)


def _question_key(text: str) -> str:
    return "".join(text.lower().split())


def read_excluded(paths: Iterable[str | Path]) -> frozenset[str]:
    """The questions of these JSONL files (test sets, say), up to case and white space."""
    found = set()
    for path in paths:
        for row in Reader(path, answers=False):
            question = (row.value or {}).get("question")
            if not isinstance(question, str):
                raise UserError("a row without `question`", file=path, row=row.number,
                                fix="--exclude takes files of questions")
            found.add(_question_key(question))
    return frozenset(found)


def _prepared(candidate: Candidate, settings: Settings) -> Candidate:
    """The candidate with its responses in shape; raises Unfit."""
    layout = family(settings.template)
    response = shaped(candidate.response)
    check_question(candidate.question, layout.marks())
    check_controls(layout.marks(), response)
    rejected = None
    if settings.pairs:
        if candidate.rejected is None:
            raise Unfit(Why.NO_REJECTED, "no `original` or `rejected` response in the row")
        try:
            rejected = shaped(candidate.rejected)
        except Unfit as error:
            raise Unfit(error.reason, f"rejected response: {error.detail}") from None
        check_controls(layout.marks(), rejected)
        if rejected == response:
            raise Unfit(Why.NO_REJECTED, "both responses are the same")
    return replace(candidate, response=response, rejected=rejected)


def _fit(candidates: Sequence[Candidate], settings: Settings, excluded: frozenset[str],
         count: Count | None, tick: Callable[[], None],
         ) -> tuple[list[Candidate], list[Dropped], dict[int, int]]:
    """Sort out what cannot be trained on; returns the rest and its lengths in tokens."""
    layout = family(settings.template)
    good: list[Candidate] = []
    bad: list[Dropped] = []
    lengths: dict[int, int] = {}
    seen: dict[tuple[str, str, str | None], Candidate] = {}
    # of rows that are the same, the one that stays must not depend on the order of reading
    for candidate in sorted(candidates, key=lambda c: (c.group, c.id, c.source, c.row)):
        tick()
        try:
            fit = _prepared(candidate, settings)
            key = (fit.question, fit.response, fit.rejected)
            if key in seen:
                first = seen[key]
                raise Unfit(Why.DUPLICATE, f"same as row {first.row} of {first.source}")
            if _question_key(fit.question) in excluded:
                raise Unfit(Why.EXCLUDED, "the question stands in an --exclude file")
            if count is not None:
                length = max(row_tokens(count, layout, fit.question, text)
                             for text in (fit.response, fit.rejected) if text is not None)
                if length > settings.cutoff_len and not settings.keep_over_cutoff:
                    raise Unfit(Why.OVER_CUTOFF,
                                f"{length} tokens, the cutoff is {settings.cutoff_len}")
                lengths[id(fit)] = length
        except Unfit as error:
            bad.append(Dropped(candidate.source, candidate.row, candidate.id,
                               Why(error.reason), error.detail))
            continue
        seen[key] = fit
        good.append(fit)
    bad.sort(key=lambda d: (d.source, d.row))
    return good, bad, lengths


def _example(row: Candidate) -> dict[str, Any]:
    human = {"from": "human", "value": row.question}
    if row.rejected is None:
        return {"conversations": [human, {"from": "gpt", "value": row.response}]}
    return {"conversations": [human], "chosen": {"from": "gpt", "value": row.response},
            "rejected": {"from": "gpt", "value": row.rejected}}


def _write_rows(path: Path, values: Iterable[dict[str, Any]], array: bool) -> None:
    """One JSON object a line, as an array (what LLaMA-Factory is given) or as JSONL."""
    with replacing(path) as file:
        lines = (json.dumps(v, ensure_ascii=False).encode("utf-8", "replace").decode()
                 for v in values)
        file.write("[\n" + ",\n".join(lines) + "\n]\n" if array
                   else "".join(line + "\n" for line in lines))


def build(sources: Sequence[str | Path], folder: Path, settings: Settings, *,
          tokenizer: str | None = None, count: Count | None = None,
          exclude: Sequence[str | Path] = (), columns: Mapping[str, str] | None = None,
          progress: Callable[[int], Callable[[], None]] = lambda total: lambda: None) -> Built:
    """Read, sort out, mix, write and register one data set in `folder`.

    Writes `NAME.json` (the set), `NAME.provenance.jsonl` (where each row of it comes from, in its
    order), `NAME.dropped.jsonl` (each row left out, with its reason), `NAME.card.json` and
    `NAME.md` (the data card), and adds NAME to `dataset_info.json`. The set's bytes depend on the
    rows, the settings and the seed alone. Nothing is written when no row is left.

    Raises UserError for unreadable sources, a name that is taken, or an empty result.
    """
    dataset_info.check_name(settings.name)
    dataset_info.check_free(folder, settings.name)
    excluded = read_excluded(exclude)
    candidates: list[Candidate] = []
    dropped: list[Dropped] = []
    for source in sources:
        read, unreadable = read_source(source, columns)
        candidates += read
        dropped += unreadable
    rows_in = len(candidates) + len(dropped)
    good, unfit, lengths = _fit(candidates, settings, excluded, count, progress(len(candidates)))
    dropped += unfit
    if not good:
        reasons = card.tally(d.reason for d in dropped)
        raise UserError("no row can be trained on", file=sources[0], fix="Reasons: " + (
            "; ".join(f"{n} {r}, the first: {first_of(dropped, r)}" for r, n in reasons.items())
            or "there are no rows"))
    chosen, rest = mix(good, size=settings.size, ratio=settings.ratio, seed=settings.seed)
    if not chosen:
        raise UserError("--size and --ratio leave no row", file=sources[0],
                        fix="Give a larger --size or a flatter --ratio")
    dropped += [Dropped(c.source, c.row, c.id, Why.NOT_SAMPLED, "") for c in rest]

    facts = card.describe(settings, chosen, dropped, rows_in, lengths, tokenizer)
    with dataset_info.locked(folder):
        dataset_info.check_free(folder, settings.name)
        file = folder / f"{settings.name}.json"
        with replacing(folder / f"{settings.name}.card.json") as out:
            json.dump(facts, out, ensure_ascii=False, indent=2)
            out.write("\n")
        _write_rows(file, map(_example, chosen), array=True)
        _write_rows(folder / f"{settings.name}.provenance.jsonl", (
            {"row": i, "id": c.id, "group": c.group, "source": c.source, "line": c.row,
             "tokens": lengths.get(id(c))} | c.facts
            for i, c in enumerate(chosen)), array=False)
        _write_rows(folder / f"{settings.name}.dropped.jsonl", map(asdict, dropped), array=False)
        with replacing(folder / f"{settings.name}.md") as out:
            out.write(card.markdown(facts))
        dataset_info.register(folder, settings.name,
                          dataset_info.PAIR_ENTRY if settings.pairs else dataset_info.SFT_ENTRY)
    return Built(file, len(chosen), dropped, facts)
