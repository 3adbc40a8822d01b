"""`drp build`: pruned runs in, a registered LLaMA-Factory data set out (§3.3, Appendix B)."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.redact import markdown
from drp_plugin.resources import filled, phrase
from drp_plugin.thinking import Unfit, check_texts, shaped
from drp_plugin.tokens import TokenCounter
from drp_plugin.training import dataset_info
from drp_plugin.training.mixing import Fit, Spool, digest
from drp_plugin.training.sources import Candidate, Dropped, HeldOut, Why, read_source
from drp_plugin.training.templates import BARE, DEFAULT_TEMPLATE, Family, asking, family


@checked(frozen=True, config={"extra": "forbid"})
class SetSettings:
    """The options of `drp build`, which decide the set besides the rows. `prompt` None takes each
    row's own; `cutoff_len` counts the tokens of prompt and response."""

    name: str
    size: Annotated[int, Field(ge=1)] | None = None
    ratio: Mapping[str, float] | None = None
    seed: int = 42
    template: str = DEFAULT_TEMPLATE
    prompt: str | None = None
    cutoff_len: int = 4096
    keep_over_cutoff: bool = False
    test_sets: tuple[str, ...] = ()  # Training questions are compared with theirs
    drop_overlap: bool = False
    pairs: bool = False


@dataclass(frozen=True)
class Built:
    """A build's results, and notes that a person should read."""

    file: Path
    rows: int
    reasons: dict[Why, tuple[int, Dropped]]  # Why rows were left out, see `Spool.reasons`
    card: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def dropped(self) -> list[Dropped]:
        """Every row that was left out, read from the set's folder."""
        rows = jsonl.rows(self.file.with_suffix(".dropped.jsonl"))
        return [Dropped(**{**row.value, "reason": Why(row.value["reason"])})
                for row in rows if row.value]


@dataclass
class Sorter:
    """Separates rows that can be trained on from the others, and keeps their text on disk."""

    settings: SetSettings
    layout: Family
    counter: TokenCounter | None
    excluded: HeldOut
    tests: HeldOut
    spool: Spool
    rows_in: int = 0
    unrecorded: int = 0  # rows that do not name their prompt, where that decides

    def add(self, row: Candidate | Dropped) -> None:
        self.rows_in += 1
        if isinstance(row, Dropped):
            return self.spool.drop(row, row.reason, row.detail)
        try:
            self._add(row)
        except Unfit as error:
            self.spool.drop(row, Why(error.reason), error.detail)

    def _add(self, row: Candidate) -> None:
        settings, prompt = self.settings, self.settings.prompt or row.prompt or BARE
        asked = asking(prompt)(row.question)
        response, rejected = self._prepared(row, asked)
        excluded = self.excluded.find(row.question)
        if excluded and excluded.similarity == 1:
            raise Unfit(Why.EXCLUDED, "the question is in an --exclude file")
        overlap = self.tests.find(row.question)
        if overlap and settings.drop_overlap:
            raise Unfit(Why.IN_TEST_SET, f"{overlap.test}, similarity {overlap.similarity:g}")
        tokens = None
        if self.counter is not None:
            tokens = max(self.layout.tokens(self.counter.count, asked, text)
                         for text in (response, rejected) if text is not None)
            if tokens > settings.cutoff_len and not settings.keep_over_cutoff:
                raise Unfit(Why.OVER_CUTOFF,
                            f"{tokens} tokens, the cutoff is {settings.cutoff_len}")
        self.unrecorded += settings.prompt is None and row.prompt is None
        facts = {**row.facts, **({} if prompt == BARE else {"prompt": prompt}),
                 **({"overlap": [row.id, *overlap]} if overlap else {})}
        self.spool.put(Fit(digest(asked, response, rejected),
            digest(str(settings.seed), row.group, row.id, row.question, response), row.group,
            row.id, row.source, row.row, tokens), _example(asked, response, rejected),
            [digest(row.question).hex(), len(response), facts])

    def _prepared(self, row: Candidate, asked: str) -> tuple[str, str | None]:
        response = shaped(row.response, thinking=row.facts.get("teacher") != "no-thinking")
        check_texts(asked, response, marks=self.layout.marks())
        if not self.settings.pairs:
            return response, None
        if row.rejected is None:
            raise Unfit(Why.NO_REJECTED, "no `original` or `rejected` response in the row")
        try:
            rejected = shaped(row.rejected)
        except Unfit as error:
            raise Unfit(error.reason, f"rejected response: {error.detail}") from None
        check_texts(asked, rejected, marks=self.layout.marks())
        if rejected == response:
            raise Unfit(Why.NO_REJECTED, "both responses are the same")
        return response, rejected


def _example(asked: str, response: str, rejected: str | None) -> dict[str, Any]:
    human = {"from": "human", "value": asked}
    if rejected is None:
        return {"conversations": [human, {"from": "gpt", "value": response}]}
    return {"conversations": [human], "chosen": {"from": "gpt", "value": response},
            "rejected": {"from": "gpt", "value": rejected}}


def build(sources: str | PathLike[str] | Sequence[str | PathLike[str]], folder: str | Path,
          settings: SetSettings, *, tokenizer: str | None = None,
          exclude: Sequence[str | Path] = (), columns: Mapping[str, str] | None = None,
          replace_set: bool = False, tick: Callable[[], None] = lambda: None) -> Built:
    """Read, sort out, mix, write and register one data set in `folder`.

    A source is what `prune` returns, its folder, or a file of rows. With the student's `tokenizer`,
    as in `TokenCounter.load`, rows over the cutoff are left out. docs/training.md has the files
    that are written. Equal rows, settings and seeds give equal bytes.
    Raises UserError for unreadable sources, a name that is taken, an empty result, and, without
    `replace_set`, for a set of that name with other rows."""
    folder = Path(folder)
    given = [sources] if isinstance(sources, str | PathLike) else [*sources]
    if not given:
        raise UserError("no run was given to build from", fix="Give what drp prune wrote")
    dataset_info.check_name(settings.name)
    dataset_info.check_free(folder, settings.name)
    layout, note = family(settings.template, tokenizer)
    if settings.prompt is not None:
        asking(settings.prompt)
    spool = Spool()
    counter = TokenCounter.load(tokenizer, exact=False) if tokenizer else None
    sorter = Sorter(settings, layout, counter, HeldOut(map(str, exclude)),
                    HeldOut(settings.test_sets), spool)
    for source in given:
        for row in read_source(fspath(source), columns):
            tick()
            sorter.add(row)
    rows, reasons = spool.mix(settings.size, settings.ratio), spool.reasons()
    if not rows:
        raise _empty(fspath(given[0]), reasons, none_fit=rows is None)
    facts = dataset_info.describe(settings, ((fit, note) for fit, _, note in spool.read()),
        {str(reason): n for reason, (n, _) in reasons.items()}, sorter.rows_in,
        counter.name if counter else None)
    file = _write(folder, settings, spool, facts, replace_set)
    return Built(file, rows, reasons, facts,
                 [*([note] if note else ()), *_prompt_notes(sorter, facts["prompts"])])


def _empty(source: str | Path, reasons: dict[Why, tuple[int, Dropped]],
           none_fit: bool) -> UserError:
    if none_fit:
        why = "; ".join(f"{n} {reason}, the first: {first}"
                        for reason, (n, first) in reasons.items())
        return UserError("no row can be trained on", file=source,
                         fix=f"Reasons: {why}" if why else "It is empty: drp stats counts rejects")
    return UserError("--size and --ratio leave no row", file=source,
                     fix="Give a larger --size or a flatter --ratio")


def _prompt_notes(sorter: Sorter, prompts: dict[str, int]) -> Iterator[str]:
    if sorter.unrecorded:
        yield phrase("unrecorded", sorter.unrecorded)
    if len(prompts) > 1:
        yield "rows are trained on several prompts: " + ", ".join(
            f"{name} {n}" for name, n in prompts.items())


def _text(spool: Spool) -> Iterator[str]:
    before = "[\n"
    for _, example, _ in spool.read():
        yield before + example
        before = ",\n"
    yield "\n]\n"


def _write(folder: Path, settings: SetSettings, spool: Spool, facts: dict[str, Any],
           replace_set: bool) -> Path:
    """Write the set and what stands beside it; returns the set's file."""
    name, file = settings.name, folder / f"{settings.name}.json"
    with dataset_info.locked(folder):
        dataset_info.check_free(folder, name)
        made, same = hashlib.sha256(), False
        for text in _text(spool):
            made.update(text.encode())
        with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
            same = made.digest() == hashlib.file_digest(opened, "sha256").digest()
        if file.exists() and not same and not replace_set:
            raise UserError("already exists, with other rows", file=file,
                            fix="Give --replace to overwrite it, or another --name")
        jsonl.write_json(folder / f"{name}.card.json", facts)
        if not same:  # an unchanged set keeps its date, by which `drp check` knows it
            with jsonl.replacing(file) as out:
                out.writelines(_text(spool))
        jsonl.write(folder / f"{name}.provenance.jsonl", (
            {"row": i, "id": f.id, "group": f.group, "source": f.source, "line": f.row,
             "tokens": f.tokens} | known for i, (f, _, (_, _, known)) in enumerate(spool.read())))
        jsonl.write(folder / f"{name}.dropped.jsonl", map(asdict, spool.dropped()))
        with jsonl.replacing(folder / f"{name}.md") as out:
            out.write(filled("card.md.jinja", md=markdown, **facts))
        dataset_info.register(folder, name, dataset_info.PAIR_ENTRY if settings.pairs
                              else dataset_info.SFT_ENTRY)
    return file
