"""What can be imported from `drp_plugin` itself: read by type checkers, and by Python on use."""

from .errors import UserError
from .grading import Grade, grade
from .pruning import PruneOptions
from .reading import read
from .records import Pruned, Reject, Trace
from .runner.session import PruneRun, prune
from .scoring import Measured, Summary, score, summarize
from .tokens import TokenCount, count
from .training.sft_set import Built, SetSettings, build

__version__: str
__all__ = ["Built", "Grade", "Measured", "PruneOptions", "PruneRun", "Pruned", "Reject",
           "SetSettings", "Summary", "TokenCount", "Trace", "UserError", "build", "count", "grade",
           "prune", "read", "score", "summarize"]
