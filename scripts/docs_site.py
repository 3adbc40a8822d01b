"""What MkDocs gets besides docs/: the pages at the root, README as home, and every `--help`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
AT_ROOT = {"README.md": "index.md", "CHANGELOG.md": "changelog.md",
           "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not stand in docs/."""
    for source, page in AT_ROOT.items():
        text = (ROOT / source).read_text("utf-8")
        # links as they are from within docs/; those to what is not in the site go
        text = re.sub(r"\]\(docs/", "](", text)
        text = re.sub(r"\[([^\]]+)\]\((?!https?:|#|images/|[\w./-]+\.md)[^)]*\)", r"\1", text)
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "commands.md", content=commands()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links out of docs/ to what is at the root, and no remarks for the tests."""
    for source, page in AT_ROOT.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    return re.sub(r"^<!-- not run: .*? -->\n", "\n", markdown, flags=re.MULTILINE)


def commands() -> str:
    """Every command's page of help, as the terminal shows it."""
    from drp_plugin.cli import COMMANDS, group

    parts = ["# Commands\n\nWhat each `drp COMMAND --help` prints.\n", _help(group, "drp")]
    top = click.Context(group, info_name="drp")
    for name in COMMANDS:
        command = group.get_command(top, name)
        assert command is not None
        parts.append(f"## drp {name}\n\n{_help(command, name, top)}")
    return "\n".join(parts)


def _help(command: click.Command, name: str, parent: click.Context | None = None) -> str:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=96,
                            terminal_width=96)
    return f"```text\n{command.get_help(context)}\n```\n"
