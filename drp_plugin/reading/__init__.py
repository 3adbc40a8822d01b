"""Users' input: any file of questions, traces or completions, in one shape.

| module | does |
|---|---|
| `containers` | files and addresses; JSONL, a JSON array, gzip, Parquet, standard input: rows |
| `layouts` | a row as it is published: its question, responses and gold answer |
| `golds` | the final answer that a published gold states |
| `reader` | all of it for a file, said in one line; rows as `Trace` or `Reject`, with unique ids |

docs/inputs.md shows a row of every layout.
"""

from drp_plugin.reading.reader import Item, Reader, parse_columns, read, traces

__all__ = ["Item", "Reader", "parse_columns", "read", "traces"]
