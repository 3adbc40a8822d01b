"""What the stages of pruning hand to one another (§3.1, §3.2)."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from drp_plugin.records import Revision, Step, Trace

if TYPE_CHECKING:
    from drp_plugin.pruning.dialogue import Dialogue


class CheckedTrace(NamedTuple):
    """A trace that may be pruned, taken apart."""

    trace: Trace
    thinking: str  # T
    answer: str  # A
    final: str | None  # The final answer that A states; None only under `keep_wrong`


class Result(NamedTuple):
    """What became of a trace."""

    steps: tuple[Step, ...]
    revisions: tuple[Revision, ...]
    thinking: str  # T̂
    answer: str  # Â
    coverage: float = 1.0  # Share of T's non-space characters that the steps hold, in order
    kind: Literal["edit", "sample", "no_thinking"] = "edit"
    """`edit`: T̂ was made from T. `sample`: R̂ is a response of the student's own, whose numbers
    need not be T's. `no_thinking`: T̂ is empty on purpose."""
    original: str | None = None
    """The response that R̂ is compared with, where that is another one than the trace's."""


def whole(checked: CheckedTrace) -> Result:
    """A response of the student's own, as it is."""
    return Result((), (), checked.thinking, checked.answer, kind="sample")


Prune = Callable[[CheckedTrace, "Dialogue"], Awaitable[Result]]
"""A way to a shorter trace. Raises `Rejection` where it finds none."""
