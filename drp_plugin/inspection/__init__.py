"""Seeing, comparing and mending runs by hand: `drp inspect`, `drp judge`, and the edits."""
