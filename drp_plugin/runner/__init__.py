"""Running a flow over many rows: scheduled, stored, counted, resumable.

| file | what |
|---|---|
| `job` | what is run: rows, a flow for one row, a run directory |
| `live` | many rows at once, results in input order, memory bounded; asking one by one |
| `batch`, `batch_files` | asking by the provider's batch API |
| `outputs`, `merging` | what stands in a run directory afterwards; several put together |
| `forecast` | a pilot, and what the whole will cost |
"""
