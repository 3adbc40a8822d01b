"""Counting the tokens of training rows with the student's own tokenizer, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drp_plugin.errors import UserError
from drp_plugin.training.templates import Family

Count = Callable[[str], int]
"""Text to number of tokens, no special tokens added."""


def load_counter(source: str | Path) -> Count:
    """Count tokens with a `tokenizer.json`, a model folder that holds one, or a hub name.

    Raises UserError when nothing there can be read.
    """
    from tokenizers import Tokenizer

    path = Path(source)
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        if file.is_file():
            tokenizer = Tokenizer.from_file(str(file))
        elif path.is_dir() or path.is_absolute() or str(source).startswith("."):
            raise UserError("holds no tokenizer.json", file=source,
                            fix="Give the student's folder, its tokenizer.json, or a hub name")
        else:
            tokenizer = Tokenizer.from_pretrained(str(source))
    except UserError:
        raise
    except Exception as error:  # the library raises bare Exception for every cause
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"tokenizer cannot be loaded ({reason})", file=source,
                        fix="Give the student's folder, its tokenizer.json, or a hub name",
                        ) from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def row_tokens(count: Count, layout: Family, question: str, response: str) -> int:
    """Tokens of one training row as LLaMA-Factory lays it out: prompt, response and end token."""
    return count(layout.prompt(question)) + count(response + layout.end)
