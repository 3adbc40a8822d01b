"""The paper's tables and figures for lmms-eval runs (§5, Appendix A). `runs` and `conditions` read
what lmms-eval wrote, `regrading` grades and counts it anew, `results` has the figures; the other
modules show them, and `write` makes the folder."""

from drp_plugin.report.regrading import score_run
from drp_plugin.report.runs import read_runs
from drp_plugin.report.write import Results, make_report, write_report

__all__ = ["Results", "make_report", "read_runs", "score_run", "write_report"]
