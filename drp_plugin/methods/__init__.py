"""The compared ways to a shorter trace, one file for each kind (docs/methods.md).

A method's module has a function `method`, from what the command gives it to a `Method`. A new one
is such a file and a line in `data/methods.yaml`. Direct distillation has a command of its own."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Request, Teacher
from drp_plugin.pruning import PruneOptions
from drp_plugin.pruning.dialogue import Prune
from drp_plugin.records import Reject, Trace
from drp_plugin.resources import table

METHODS: dict[str, tuple[str, str]] = table("methods.yaml")["methods"]
"""How `--teacher` spells each method, its module, and what a command's help says of it."""


class Given(NamedTuple):
    """What a method is made from."""

    rows: Callable[[], Iterable[Trace | Reject]]
    """Reads the input anew: for methods that choose among a question's samples."""
    options: PruneOptions
    count: Callable[[str], int]  # Tokens of a text
    base_urls: tuple[str, ...] = ()
    engine: dict[str, Any] | None = None
    name: str = ""
    argument: str = ""  # What stands before and after the colon


class Nobody(Teacher):
    """Takes a teacher's place if nobody is asked."""

    local = asks_nothing = True
    name = "nobody"

    def __init__(self) -> None:
        self.identity = {"kind": "local"}

    async def ask(self, request: Request) -> NoReturn:
        raise AssertionError(f"{self.name} asks nothing")


class Method(NamedTuple):
    """A way to a shorter trace."""

    prune: Prune
    asks: Teacher  # Whom `prune` asks, through its dialogue and the run's ledger
    prompts: tuple[str, ...] = ()  # Its teacher's, which are tried before anything is asked


def is_method(spec: str) -> bool:
    """Whether `--teacher` names a method and no teacher."""
    return spec.partition(":")[0] in {spelling.partition(":")[0] for spelling in METHODS}


def make(spec: str, given: Given) -> Method:
    """The method that `spec` names. Raises UserError where it does not take its argument."""
    name, colon, argument = spec.partition(":")
    spelling = next(s for s in METHODS if s.partition(":")[0] == name)
    if bool(colon) != (":" in spelling) or bool(colon) != bool(argument):
        raise UserError(f"--teacher {spec} is no method", fix=f"It is spelled {spelling}")
    module = METHODS[spelling][0]
    if (given.base_urls or given.engine) and module != "tale":
        raise UserError(f"{spec} uses no server and no engine",
                        fix="Leave --base-url and --engine-arg out")
    made: Method = import_module(f"{__name__}.{module}").method(
        given._replace(name=name, argument=argument))
    made.asks.name = spec
    return made


def listing() -> str:
    return "\n".join(f"  {spelling:26}{what}" for spelling, (_, what) in METHODS.items())
