"""Running a flow over many rows: scheduled, stored, counted, resumable.

| file | what |
|---|---|
| `job` | what is run; many rows at once, in the order of the input; asking one by one |
| `batch`, `batch_files` | asking by the provider's batch API |
| `outputs`, `merging` | what stands in a run directory afterwards; several put together |
| `session` | a whole run, from its settings to its last line |
| `forecast` | a pilot, and what the whole will cost |
"""
