"""The compared ways to a shorter trace, one file each (docs/methods.md).

A method's module has a function `method`, from what the command gives it to a `Method`. A new one
is such a file and a line in `METHODS`. Direct distillation has a command of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Request, Teacher
from drp_plugin.pruning.options import PruneOptions
from drp_plugin.pruning.values import Prune
from drp_plugin.records import Reject, Trace


class Entry(NamedTuple):
    """A line of `METHODS`."""

    module: str
    what: str
    samples: bool = False
    """Whether it asks a student, so that a server and an engine's arguments mean something."""


METHODS = {
    "earliest-correct": Entry("earliest_correct", "the shortest prefix that states the answer"),
    "shortest-correct": Entry("shortest_correct", "each question's shortest correct sample"),
    "mixchain:K": Entry("mixchain", "CoT-Valve's solution K, 4 (longest sample) to 0 (shortest)"),
    "random:RATIO": Entry("random_steps", "control: random steps go, RATIO of the tokens stay"),
    "no-thinking": Entry("no_thinking", "control: the answer part alone"),
    "entropy:MODEL[@RATIO]": Entry("entropy", "the steps of lowest entropy go"),
    "perplexity:MODEL[@RATIO]": Entry("perplexity", "steps that the answer does not need go"),
    "pir:MODEL[@RATIO]": Entry("pir", "the same, for steps of checking alone"),
    "tale-estimate:MODEL": Entry("tale_estimate", "answers under the student's own budget", True),
    "tale-search:MODEL": Entry("tale_search", "answers under the least budget found", True),
}
"""Methods by the way in which `--teacher` spells them."""


class Given(NamedTuple):
    """What a method is made from."""

    argument: str
    """What stands behind the colon of its name."""
    rows: Callable[[], Iterable[Trace | Reject]]
    """Reads the input anew: for methods that choose among a question's samples."""
    options: PruneOptions
    count: Callable[[str], int]
    """Tokens of a text."""
    base_url: str | None = None
    engine: dict[str, Any] | None = None


class Nobody(Teacher):
    """Stands in a teacher's place where nobody is asked."""

    local = asks_nothing = True

    def __init__(self) -> None:
        self.name = "nobody"
        self.identity = {"kind": "local", "model": self.name}

    async def ask(self, request: Request) -> NoReturn:
        raise AssertionError(f"{self.name} asks nothing")


class Method(NamedTuple):
    """A way to a shorter trace."""

    prune: Prune
    asks: Teacher
    """Whom `prune` asks, by its dialogue: what is answered is kept in the run's ledger."""
    prompts: tuple[str, ...] = ()
    """The teacher's prompts that it renders: they are tried before anything is asked."""


def _spelling(spec: str) -> str | None:
    name = spec.partition(":")[0]
    return next((s for s in METHODS if s.partition(":")[0] == name), None)


def is_method(spec: str) -> bool:
    """Whether `--teacher` names a method and no teacher."""
    return _spelling(spec) is not None


def make(spec: str, given: Given) -> Method:
    """The method that `spec` names; `given.argument` is set here.

    Raises UserError where the argument is missing or is none that the method takes.
    """
    spelling = _spelling(spec)
    assert spelling is not None
    argument = spec.partition(":")[2]
    if bool(argument) != (":" in spelling) or spec.endswith(":"):
        raise UserError(f"--teacher {spec}: {'no argument' if argument else 'its argument'} "
                        f"{'belongs there' if argument else 'is missing'}",
                        fix=f"It is spelled {spelling}")
    entry = METHODS[spelling]
    for option, value in (("--base-url", given.base_url), ("--engine-arg", given.engine)):
        if value and not entry.samples:
            raise UserError(f"{option} means nothing to {spec}, which asks no server or engine",
                            fix="Leave it out")
    module = import_module(f"{__name__}.{entry.module}")
    made: Method = module.method(given._replace(argument=argument))
    made.asks.name = spec
    return made


def listing() -> str:
    """The methods for a command's help, one a line."""
    return "\n".join(f"  {spelling:26}{entry.what}" for spelling, entry in METHODS.items())
