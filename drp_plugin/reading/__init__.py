"""What users give to read: any file of questions, traces or completions, in the one shape.

| module | does |
|---|---|
| `containers` | JSONL, a JSON array, gzip, Parquet, standard input: rows |
| `layouts` | a row as it is published: its question, responses and gold answer |
| `golds` | the final answer that a published gold states |
| `reader` | both for a file, with what was found said in one line |
| `traces` | rows as `Trace` or `Reject`, with ids that are unique |

docs/inputs.md shows a row of every layout.
"""

from drp_plugin.reading.reader import Item, Reader, parse_columns
from drp_plugin.reading.traces import traces

read = traces
__all__ = ["Item", "Reader", "parse_columns", "read", "traces"]
