"""Users' input: any file of questions, traces or completions, in one shape (docs/inputs.md)."""

from drp_plugin.reading.reader import Item, Reader, parse_columns, read, traces

__all__ = ["Item", "Reader", "parse_columns", "read", "traces"]
