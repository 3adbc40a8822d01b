"""Which tokenizer counts, said where it is not the one that was asked for."""

from __future__ import annotations

import click

from drp_plugin.tokens import PIECES, QWEN_VARIABLE, TokenCounter


def counter(spec: str) -> TokenCounter:
    """The counter for `spec`; one line on stderr where Qwen's had to be replaced."""
    made = TokenCounter.load(spec, exact=False)
    if made.name == PIECES != spec:
        click.echo(f"note: tokens are counted by {PIECES}, about 3 % under Qwen's own tokenizer, "
                   f"which cannot be had here ({QWEN_VARIABLE} names its tokenizer.json)", err=True)
    return made
