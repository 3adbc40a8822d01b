"""What the wire tests share: a provider that answers by the offline rules, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from drp_plugin.cli import main
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.llm.retry import Persistent
from drp_plugin.teachers.offline import OfflineTeacher

KEY = "sk-proj-VerySecretKey1234567890abcdefXYZ"


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


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
        return Ran(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def rules() -> Callable[[Request], Any]:
    """The offline teacher's answers."""
    teacher = OfflineTeacher()

    async def answer(request: Request) -> Reply:
        return await teacher.ask(request)

    return answer


def traces(path: Path, count: int, *, start: int = 0) -> Path:
    """Small R1-like traces, all different."""
    rows = []
    for n in range(start, start + count):
        a, b = 13 + n, 7 + n % 11
        thinking = (
            f"Okay, so I need to find how many apples there are. Tom has {a} apples and Ann has "
            f"{b} apples.\n\nLet me add them: {a} + {b} = {a + b}. So together they have {a + b} "
            f"apples.\n\nWait, let me double-check that. {a} plus {b} is {a + b}. Yes, that is "
            f"right.\n\nHmm, so the total must be {a + b}. I think the answer is {a + b}.")
        rows.append({"id": f"q{n}", "question": f"Tom has {a} apples and Ann has {b}. How many "
                     f"apples do they have together?", "answer": str(a + b),
                     "response": f"<think>\n{thinking}\n</think>\n\nThey have "
                                 f"\\boxed{{{a + b}}} apples."})
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def rows_of(run: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """A run directory's pruned rows, rejects and summary."""
    read = [[json.loads(x) for x in (run / f).read_text().splitlines()]
            for f in ("pruned.jsonl", "rejects.jsonl")]
    return read[0], read[1], json.loads((run / "summary.json").read_text())


def everything_written(folder: Path) -> bytes:
    """All bytes below a folder."""
    return b"".join(f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file())
