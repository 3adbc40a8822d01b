"""A teacher that says what a test tells it to, and a trace to prune."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.llm.messages import Reply, Request, Teacher
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.pruning.dialogue import Prune
from drp_plugin.pruning.flow import prune_trace, prune_with_teacher
from drp_plugin.records import Pruned, Reject, Trace, Usage

THINKING = ("Okay, so Joy reads 8 pages in 20 minutes. That is 8 / 20 = 0.4 pages a minute.\n\n"
            "Hmm, let me see. For 120 pages she needs 120 / 0.4 = 300 minutes. Then 300 / 60 = 5.")
ANSWER = "She needs 5 hours.\n\n**Answer:** \\boxed{5}"
TRACE = Trace(id="joy", question="Joy can read 8 pages of a book in 20 minutes. How many hours "
              "will it take her to read 120 pages?", answer="5", dataset="gsm8k", model="student",
              response=f"<think>\n{THINKING}\n</think>\n\n{ANSWER}")

STEPS = """Step 1: Okay, so Joy reads 8 pages in 20 minutes.
Skill: Interpreting a quantity

Step 2: That is 8 / 20 = 0.4 pages a minute.

Skill: Division

Step 3: Hmm, let me see.
Skill: Hesitating

Step 4: For 120 pages she needs 120 / 0.4 = 300 minutes. Then 300 / 60 = 5.
Skill: Division"""

REVISION = """Step 1: SINGLE-STEP COMPRESS: Joy reads 8 pages in 20 minutes.
Step 2: KEEP
Step 3: DELETE
Step 4: KEEP

## SYNTHESIS
Joy reads 8 pages in 20 minutes, 8 / 20 = 0.4 pages a minute. She needs 120 / 0.4 = 300 minutes, \
and 300 / 60 = 5. The answer is 5.

## ANSWER
UNCHANGED"""

INDEXED = json.dumps({"steps": [
    {"u": "1", "k": "Reading a quantity", "a": "COMPRESS", "t": "Joy reads 8 pages in 20 min."},
    {"u": "2", "k": "Division", "a": "KEEP"}, {"u": "3", "k": "Hesitating", "a": "DELETE"},
    {"u": "4", "k": "Division", "a": "KEEP"},
    {"u": "5", "k": "Division", "a": "COMPRESS", "t": "Then 300 / 60 = 5. The answer is 5."}],
    "answer": None})


class Scripted(Teacher):
    """Gives its replies in turn, keeps the requests, and complains when it has nothing left."""

    name = "scripted"

    def __init__(self, *replies: str | Reply | Exception) -> None:
        self.replies = list(replies)
        self.requests: list[Request] = []

    async def ask(self, request: Request) -> Reply:
        self.requests.append(request)
        if not self.replies:
            raise AssertionError(f"nobody expected request {len(self.requests)}")
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, str):
            reply = Reply(text=reply, usage=Usage(requests=1, prompt_tokens=10,
                                                  completion_tokens=5, cost_usd=0.5))
        return reply


def words(text: str) -> int:
    """Tokens, for tests: words."""
    return len(text.split())


def prune(teacher: Scripted, options: PruneOptions | None = None, trace: Trace = TRACE,
          count: Callable[[str], int] = words,
          method: Prune = prune_with_teacher) -> Pruned | Reject:
    """One trace through the flow."""
    return asyncio.run(prune_trace(trace, RowClient(teacher.ask), options or PruneOptions(),
                                   prompts=Prompts(), count=count, prune=method))


def joined(replies: Sequence[str]) -> str:
    """Replies as one text."""
    return "\n".join(replies)
