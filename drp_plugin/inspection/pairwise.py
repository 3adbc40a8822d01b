"""Appendix D: a model compares two decompositions of the same traces, pair by pair.

Which run is shown as A is drawn by the seed, pair by pair, and every pair is shown in both orders:
a judge that prefers a side to a text contradicts itself, which is counted."""

import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Ask, Message, Request, Sampling, TeacherError
from drp_plugin.prompts import Prompts
from drp_plugin.records import Pruned
from drp_plugin.run_dir import PRUNED
from drp_plugin.statistics import wilson

Verdict = Literal["A", "B", "Same"]
_VERDICT = re.compile(r"""^[\s*_'"‘“`(\[]*(?:version\s+|answer\s*:\s*)?
                          (a|b|same)(?![a-z])[\s\S]*$""", re.IGNORECASE | re.VERBOSE)
_LATER = re.compile(r"(?:\b(?:version|answer|choice)\b[\s:*]*(?:is[\s:*]*)?|['‘“\"*])"
                    r"(a|b|same)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """The steps of two decompositions of one trace; `swapped` shows the second as A first."""

    id: str
    one: tuple[str, ...]
    two: tuple[str, ...]
    swapped: bool


def winner(first: str | None, second: str | None) -> str:
    """`one` or `two` where both orders agree on it; else `same`, `invalid`, or `contradiction`
    where the judge chose the same side, and so another text, in each order."""
    if first == second and first in ("one", "two"):
        return first
    if {first, second} == {"one", "two"}:
        return "contradiction"
    return "invalid" if first is None or second is None else "same"


def parse_verdict(text: str) -> Verdict | None:
    """`A`, `B` or `Same`, however marked up; None for any other reply."""
    match = _VERDICT.match(text)
    found = {match[1].lower()} if match else set()
    if match is None or re.match(r"\s*a\s+[a-z]", text):    # `a good version`
        found = {m[1].lower() for m in _LATER.finditer(text)}
    words: dict[str, Verdict] = {"same": "Same", "a": "A", "b": "B"}
    return words[found.pop()] if len(found) == 1 else None


def load(run_dir: Path) -> dict[str, Pruned]:
    """A run's pruned rows with steps, by id. Raises UserError."""
    file = run_dir / PRUNED
    if not file.is_file():
        raise UserError(f"no {PRUNED} here", file=run_dir, fix="Give folders of drp prune")
    rows = {row.id: row for row in jsonl.read(file, Pruned) if row.steps}
    if not rows:
        raise UserError("no row has steps", file=file,
                        fix="Runs of drp distill have none; give folders of drp prune")
    return rows


def make_pairs(one: dict[str, Pruned], two: dict[str, Pruned], *, sample: int | None,
               seed: int) -> list[Pair]:
    """Pairs of the rows that both runs have, with the same trace. Raises UserError for none."""
    common = [i for i in one if i in two and one[i].original == two[i].original]
    if not common:
        raise UserError("the two runs have no trace in common",
                        fix="Prune the same traces with two --decompose modes")
    generator = random.Random(seed)
    if sample is not None and sample < len(common):
        common = sorted(generator.sample(common, sample), key=common.index)
    return [Pair(i, tuple(s.text for s in one[i].steps), tuple(s.text for s in two[i].steps),
                 swapped=generator.random() < 0.5) for i in common]


async def judge_pair(pair: Pair, ask: Ask, prompts: Prompts, sampling: Sampling
                     ) -> dict[str, Any]:
    """What the judge said of a pair in the first order and with the sides swapped: `one`, `two`,
    `same`, or None without a usable reply; the sides that it chose, and the `winner`."""
    details: list[str] = []

    async def once(two_is_a: bool) -> tuple[str | None, Verdict | None]:
        a, b = (pair.two, pair.one) if two_is_a else (pair.one, pair.two)
        prompt = prompts.render("judge", version_a=a, version_b=b)
        try:
            reply = await ask(Request(messages=(Message(role="user", content=prompt),),
                                      sampling=sampling, tag="judge"))
        except TeacherError as error:
            details.append(str(error))
            return None, None
        side = parse_verdict(reply.text) if reply.finish_reason != "refusal" else None
        if side is None:
            details.append(f"no verdict: {' '.join(reply.text.split())[:120]!r}")
        meant = {None: None, "Same": "same", "A": "one", "B": "two"}
        return meant[{"A": "B", "B": "A"}.get(side or "", side) if two_is_a else side], side

    first, first_side = await once(pair.swapped)
    second, second_side = await once(not pair.swapped)
    return {"id": pair.id, "first": first, "second": second, "first_side": first_side,
        "second_side": second_side, "detail": "; ".join(details), "winner": winner(first, second)}


def check_replaced(file: Path, now: dict[str, Any]) -> None:
    """Raises UserError if a result that is there is another comparison's, or has more verdicts."""
    before = jsonl.read_json(file) if file.exists() else now
    (had, _), (has, pairs) = ((s["pairs"] - s["both_orders"]["invalid"], s["pairs"])
                              for s in (before, now))
    if any(before[key] != now[key] for key in ("judge", "run_a", "run_b")) or has < min(had, pairs):
        raise UserError(f"holds {had} verdicts on {before['run_a']} and {before['run_b']} by "
                        f"{before['judge']}, and is not replaced by {has}", file=file,
                        fix="Run it again when the judge answers, or give another -o")


def summarize(judged: list[dict[str, Any]], one: dict[str, Pruned],
              two: dict[str, Pruned]) -> dict[str, Any]:
    """The comparison's figures; shares with 95 % Wilson intervals."""
    winners, firsts = (Counter(j[key] for j in judged) for key in ("winner", "first"))
    sides = Counter(j[key] for j in judged for key in ("first_side", "second_side"))

    def share(number: int, n: int) -> dict[str, Any]:
        value, *interval = (round(x, 4) for x in wilson(number, n))
        return {"share": value if n else None, "interval": interval, "n": n}

    def steps(rows: dict[str, Pruned]) -> float:
        return round(sum(len(rows[j["id"]].steps) for j in judged) / max(1, len(judged)), 2)

    return {"pairs": len(judged),
        "both_orders": {k: winners[k] for k in ("one", "two", "same", "contradiction", "invalid")},
        "one_preferred": share(winners["one"], winners["one"] + winners["two"]),
        "first_order": {str(k or "invalid"): firsts[k] for k in ("one", "two", "same", None)},
        "one_preferred_first_order": share(firsts["one"], firsts["one"] + firsts["two"]),
        "position": {**{k: sides[k] for k in ("A", "B", "Same")},
                     "A_share": share(sides["A"], sides["A"] + sides["B"])},
        "contradictions": share(winners["contradiction"], len(judged)),
        "steps_per_example": {"one": steps(one), "two": steps(two)}}
