"""The documentation builds as a site, with nothing that leads nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

pytest.importorskip("mkdocs")

from drp_plugin.cli import COMMANDS


def test_the_site(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d",
                           str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    commands = (tmp_path / "site" / "commands" / "index.html").read_text("utf-8")
    assert all(f"drp {name}" in commands and "--help" in commands for name in COMMANDS)
    python = (tmp_path / "site" / "python" / "index.html").read_text("utf-8")
    assert 'id="drp_plugin.prune"' in python and "Every reply is kept in" in python
    home = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "images/method.svg" in home and "not run:" not in home
