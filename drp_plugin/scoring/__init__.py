"""What a completion is worth: graded and counted, with and without the cutoff (§4.6)."""

from drp_plugin.loops import loop_period
from drp_plugin.scoring.measure import (
    DEFAULT_CUTOFF,
    Measured,
    Reading,
    Summary,
    measure,
    measure_at,
    measure_many,
    score,
    summarize,
)

__all__ = ["DEFAULT_CUTOFF", "Measured", "Reading", "Summary", "loop_period", "measure",
           "measure_at", "measure_many", "score", "summarize"]
