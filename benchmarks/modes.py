"""Teacher tokens of `skill` against `indexed`, for the same segmentation, on real traces.

    python benchmarks/modes.py                              DRP_DATA_DIR's R1-Distill traces
    python benchmarks/modes.py --traces mine.jsonl --limit 100

The offline rule teacher answers each trace in the indexed format. Its steps, skills, actions and
new texts are then written as the two replies of the `skill` format, to the two shipped prompts, so
that both formats carry the same decisions. What differs: `skill` writes T again, and T̂ after the
actions. Input and output are counted with GPT-4o's tokenizer (o200k_base) where tiktoken has it at
hand, else with the Qwen BPE, and costed at list prices.

Exit code 1 when the indexed output is more than a third of the other.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass

from _traces import arguments, given_traces

from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.llm.prices import find_price
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.pruning.flow import prune_trace
from drp_plugin.pruning.steps import Part
from drp_plugin.records import Pruned, Usage
from drp_plugin.teachers.offline import OfflineTeacher, write_revision, write_steps
from drp_plugin.thinking import split_response
from drp_plugin.tokens import TokenCounter

TEACHERS = ("openai:gpt-4o", "gemini:gemini-2.0-flash")
BEYOND = 10**9
"""A window that every trace fits into: windows would cost both formats the same."""


@dataclass
class Side:
    """What one format costs."""

    prompt: int = 0
    reply: int = 0

    def usage(self) -> Usage:
        return Usage(prompt_tokens=self.prompt, completion_tokens=self.reply)


def counter() -> tuple[Callable[[str], int], str]:
    """The teacher's tokenizer, or the nearest one that is here, and its name."""
    try:
        import tiktoken

        encoding = tiktoken.get_encoding("o200k_base")
    except Exception:  # not installed, or its file is neither cached nor reachable
        qwen = TokenCounter.load()
        return qwen.count, "Qwen BPE (o200k_base is not at hand here)"
    return (lambda text: len(encoding.encode(text, disallowed_special=()))), "o200k_base (GPT-4o)"


def as_skill(row: Pruned, prompts: Prompts, count: Callable[[str], int]) -> Side:
    """The same decisions in the `skill` format: two prompts, two replies."""
    original, new = split_response(row.original), split_response(row.response)
    steps = [(step.text, step.skill or "") for step in row.steps]
    decisions = [Part(r.steps[0], r.steps[-1], "", r.action, r.text or "")
                 for r in row.revisions]
    asked = [prompts.render("decompose_skill", question=row.question, part=1, more=False,
                            reasoning=original.thinking),
             prompts.render("revise", question=row.question, answer=original.answer,
                            steps=row.steps, more=False, so_far="")]
    said = [write_steps(steps, skills=True), write_revision(decisions, new.thinking)]
    return Side(sum(map(count, asked)), sum(map(count, said)))


def main() -> int:
    """Run it; prints the table."""
    found = given_traces(arguments(__doc__).parse_args())
    count, name = counter()
    teacher, prompts = OfflineTeacher(count), Prompts()
    options = PruneOptions(decompose="indexed", window_tokens=BEYOND)
    skill, indexed = Side(), Side()
    rows = steps = rejected = t_tokens = 0
    for trace in found:
        row = asyncio.run(prune_trace(trace, RowClient(teacher.ask), options, prompts=prompts,
                                      count=count))
        if not isinstance(row, Pruned):
            rejected += 1
            continue
        rows, steps = rows + 1, steps + len(row.steps)
        t_tokens += count(split_response(row.original).thinking)
        other = as_skill(row, prompts, count)
        skill.prompt, skill.reply = skill.prompt + other.prompt, skill.reply + other.reply
        indexed.prompt += row.usage.prompt_tokens
        indexed.reply += row.usage.completion_tokens
    if not rows:
        print("no trace could be pruned", file=sys.stderr)
        return 2
    print(f"{rows} traces ({rejected} rejected), {steps / rows:.1f} steps each, "
          f"{t_tokens / rows:,.0f} tokens of thinking each; tokens by {name}")
    print(f"{'':24}{'skill':>14}{'indexed':>14}{'ratio':>9}")
    for label, one, two in (("input tokens", skill.prompt, indexed.prompt),
                            ("output tokens", skill.reply, indexed.reply),
                            ("output, a trace", skill.reply / rows, indexed.reply / rows)):
        print(f"{label:24}{one:>14,.0f}{two:>14,.0f}{two / one:>9.3f}")
    for model in TEACHERS:
        price = find_price(model)
        if price is None:
            continue
        one, two = (1000 * price.cost(side.usage()) / rows for side in (skill, indexed))
        print(f"{'USD a 1,000, ' + model.split(':')[1]:24}{one:>14.2f}{two:>14.2f}"
              f"{two / one:>9.3f}")
    ratio = indexed.reply / skill.reply
    print(f"indexed output is {ratio:.1%} of skill's: "
          + ("at most one third" if ratio <= 1 / 3 else "MORE than one third"))
    return 0 if ratio <= 1 / 3 else 1


if __name__ == "__main__":
    sys.exit(main())
