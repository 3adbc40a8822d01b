"""Running a flow over many rows: scheduled, stored, counted, resumable.

| file | what |
|---|---|
| `job` | what is run: rows, a flow for one row, a run directory |
| `order` | many rows at once, results in input order, memory bounded |
| `live`, `batch` | the two ways of asking: one by one, or by the provider's batch API |
| `outputs`, `tally`, `run_settings` | what stands in a run directory afterwards |
| `forecast` | a pilot, and what the whole will cost |
"""
