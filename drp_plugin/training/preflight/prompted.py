"""Is the prompt that is trained the one that the student will be asked with?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from drp_plugin.errors import UserError
from drp_plugin.resources import resource
from drp_plugin.training.asking import BARE, EVALUATED, asking
from drp_plugin.training.preflight.findings import Preflight
from drp_plugin.training.preflight.parsed import Parsed

if TYPE_CHECKING:
    from datasets import Dataset

_MARK = "\x00"


def _frame(prompt: str) -> tuple[str, str]:
    """What a prompt puts before and behind a question."""
    before, _, behind = asking(prompt)(f"a{_MARK}a").partition(f"a{_MARK}a")
    return before, behind


def _frames(asked: str) -> dict[tuple[str, str], str]:
    """The frames that are known, by name of their prompt, the longest first."""
    found = {("", ""): BARE}
    for name in [*(f.stem for f in sorted(resource("prompts").glob("eval_*.jinja"))), asked]:
        try:
            found.setdefault(_frame(name), name)
        except UserError:  # it needs more than the question
            continue
    return dict(sorted(found.items(), key=lambda item: -len("".join(item[0]))))


def check_prompt(parsed: Parsed, rows: Dataset, skip: set[int], asked: str | None,
                 report: Preflight) -> None:
    """Compare what the rows ask with and what `asked`, a prompt's name, would.

    Without `asked` it is what the tasks ask: `eval_boxed`, the bare question for the embedded
    student. Raises UserError for a prompt that there is not.
    """
    if asked is None:
        asked = BARE if _embedded(parsed) else EVALUATED
    wanted = _frame(asked)
    frames = _frames(asked)
    trained: Counter[str] = Counter()
    systems: Counter[str] = Counter()
    for number, row in enumerate(rows):
        if number not in skip:
            systems[row["_system"] or parsed.data.default_system or ""] += 1
            text = str(row["_prompt"][0]["content"])
            trained[next(name for (before, behind), name in frames.items()
                         if text.startswith(before) and text.endswith(behind))] += 1
    report.facts["trained_prompts"] = dict(trained)
    other = {name: n for name, n in trained.items() if name != frames[wanted]}
    if other:
        bare = wanted == ("", "")
        build = BARE if bare else asked
        shown = _called(BARE) if bare else f"{asked} ({''.join(wanted).strip()})"
        report.warn("prompt_not_evaluated", f"{sum(other.values())} of {len(rows)} rows are "
                    f"trained on {', '.join(map(_called, other))}, and the student will be asked "
                    f"with {shown}: build the set with `drp build --prompt {build}`, or name what "
                    "it will be asked with, `drp check --prompt NAME`")
    if named := [text for text in systems if text]:
        report.warn("system_not_evaluated", f"{sum(systems[s] for s in named)} of {len(rows)} rows "
                    f"are trained under a system prompt ({named[0][:60]!r}), which neither `drp "
                    "generate` nor the tasks send: leave it out, or name one as `system` in the "
                    "task's protocol")


def _called(name: str) -> str:
    return "the bare question" if name == BARE else name


def _embedded(parsed: Parsed) -> bool:
    from drp_plugin.student import model_path

    return Path(str(parsed.model.model_name_or_path)).resolve() == model_path().resolve()
