"""The files of a run directory (`drp prune`, `drp distill`)."""

PRUNED = "pruned.jsonl"  # Every row that became shorter: `records.Pruned`.
REJECTS = "rejects.jsonl"  # Every other row, with its reason: `records.Reject`.
SUMMARY = "summary.json"  # The run's figures
SETTINGS = "settings.json"  # Everything that shapes the results; a resumed run has the same
LEDGER = "ledger.sqlite"  # Every reply that was paid for
EDITS = "edits.jsonl"  # Decisions by hand
FILES = (PRUNED, REJECTS, SUMMARY, SETTINGS, LEDGER, EDITS)
