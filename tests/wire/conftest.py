"""What the wire tests share: a provider that answers by the offline rules, and the command."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from small_runs import KEY

from drp_plugin.cli import main
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.llm.retry import Persistent
from drp_plugin.teachers.offline import OfflineTeacher


class Ran(NamedTuple):
    """What a command did. `err` is without the line that says what begins, and the next command."""

    code: int
    out: str
    err: str


_AROUND = re.compile(r"\Adrp: (?:sampling|pruning|distilling|building|comparing|merging) .*\n"
                     r"|^next: .*\n", re.M)


@pytest.fixture
def drp(capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs `drp …` in this process, keys set."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    wait = Persistent._wait
    # the real waits, a twentieth as long, but never less than what the provider asks for
    monkeypatch.setattr(Persistent, "_wait", lambda self, tried, fault: max(
        fault.after_s or 0.0, wait(self, tried, fault) / 20))

    def run(*arguments: Any) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return Ran(int(ended.value.code or 0), out, _AROUND.sub("", err))

    return run


@pytest.fixture
def rules() -> Callable[[Request], Any]:
    """The offline teacher's answers."""
    teacher = OfflineTeacher()

    async def answer(request: Request) -> Reply:
        return await teacher.ask(request)

    return answer
