"""The help of a command: what COMMANDS says of it, and its text in `data/help`."""

from __future__ import annotations

from pathlib import Path

import drp_plugin
from drp_plugin.cli import COMMANDS


def help_of(name: str) -> str:
    """For `click.command`; a line `\\b` in the file keeps the paragraph below it as it stands."""
    file = Path(drp_plugin.__file__).parent / "data" / "help" / f"{name}.txt"
    return f"{COMMANDS[name]}\n\n{file.read_text('utf-8')}".replace("\\b\n", "\b\n")
