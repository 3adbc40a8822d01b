"""`mixchain:K`: CoT-Valve's chains of several lengths a question, from the student's own samples.

Solution 4 is the longest correct sample, 0 the shortest, the others lie evenly between; where a
question has fewer than five, neighbours share one, so that every solution has every question. The
samples may come from one model or, put into one file, from its adapter at several scales.
"""

from __future__ import annotations

from drp_plugin.errors import UserError
from drp_plugin.methods import Given, Method
from drp_plugin.methods.shortest_correct import keep_one

LAST = 4


def method(given: Given) -> Method:
    """Raises UserError for a solution that there is not."""
    if given.argument not in [str(k) for k in range(LAST + 1)]:
        raise UserError(f"mixchain:{given.argument}: no such solution",
                        fix="Give 4 (the longest sample) to 0 (the shortest)")
    share = int(given.argument) / LAST
    return keep_one(given, lambda count: round(share * (count - 1)))
