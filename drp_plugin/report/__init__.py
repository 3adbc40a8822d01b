"""The paper's tables and figures for lmms-eval runs (§5, Appendix A).

| file | what |
|---|---|
| `runs`, `conditions` | what lmms-eval wrote, and the protocol that it was made under |
| `regrading` | every completion graded and counted anew, with one cutoff and one tokenizer |
| `results` | rows (a method on a task) and comparisons (two methods on the same problems) |
| `tables`, `figures`, `excerpts` | what is shown; `paper` is the paper's own numbers beside it |
| `layout`, `html_page`, `write` | Markdown, CSV, HTML and the folder they go to |
"""

from drp_plugin.report.regrading import Scored, score_run
from drp_plugin.report.results import Comparison, ResultRow
from drp_plugin.report.runs import Run, read_runs
from drp_plugin.report.write import Results, make_report, write_report

__all__ = ["Comparison", "ResultRow", "Results", "Run", "Scored", "make_report", "read_runs",
           "score_run", "write_report"]
