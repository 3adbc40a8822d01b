"""What is shown while a run goes on, whatever texts come from servers and files."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from drp_plugin import progress


@pytest.mark.parametrize("text", ["[/INST]", "[bold]x[/]", "a [red", "[link=file:///x]y[/link]"])
def test_brackets_are_no_markup(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(
        file=shown, force_terminal=True, width=200, color_system=None))
    with progress.Display(f"rows {text}", 3, status=lambda: f"status {text}") as display:
        display.advance()
        display.note(f"waiting: {text}")
        display.say(f"said: {text}")
    for part in (f"rows {text}", f"status {text}", f"said: {text}"):
        assert part in shown.getvalue()


def test_nothing_is_shown_where_that_is_asked(capsys: pytest.CaptureFixture) -> None:
    with progress.Display("rows", 3, show=False) as display:
        display.say("x")
        display.advance(3)
    assert capsys.readouterr().err == ""
