"""The paper's tables and figures for lmms-eval runs (§5, Appendix A)."""

from drp_plugin.report.rows import Comparison, Row, Scored, score_run
from drp_plugin.report.runs import Run, read_runs
from drp_plugin.report.write import Report, make_report, write_report

__all__ = ["Comparison", "Report", "Row", "Run", "Scored", "make_report", "read_runs",
           "score_run", "write_report"]
