"""Commands that work for long or write much, and what they leave where nothing disturbs them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
from pathlib import Path

from properties import Arena
from provider import Provider
from scene import Scene
from small_runs import traces

ASKING = ("prune", "batch", "generate", "distill", "judge")
WRITING = {"build": 2, "inspect": 1, "report": 3}
"""At which of its files it is disturbed."""
OUT = 4  # Requests at a time
LEDGER = "ledger.sqlite"


class Striker(Provider):
    """Sends its client a signal when it is asked for the second time; answers a little later."""

    victim: Path | None = None
    strike = 0
    asked = 0

    async def _struck(self) -> None:
        self.asked += 1
        if self.strike and self.asked == 2 and self.victim:
            pid = int(self.victim.read_text())
            os.kill(pid, self.strike)
            if self.strike == signal.SIGSTOP:
                threading.Timer(0.4, os.kill, (pid, signal.SIGCONT)).start()
            await asyncio.sleep(0.2)

    async def chat(self, http):
        await self._struck()
        return await super().chat(http)

    async def get_batch(self, http):
        await self._struck()
        return await super().get_batch(http)


class Matrix:
    """The arena, and what each command leaves where nothing disturbs it."""

    def __init__(self, arena: Arena, server: Striker) -> None:
        self.scene, self.server = Scene(arena, server.port), server
        self.arena, self.work, self.pid = arena, arena.work, arena.home / "pid"
        traces(self.work / "six.jsonl", 6)
        server.victim, server.polls = self.pid, 3
        self._calm: dict[str, tuple[dict[str, bytes], int]] = {}

    def line(self, command: str) -> list[str]:
        url = ["--base-url", self.server.url]
        prune = ["prune", "six.jsonl", "-o", "out", "--tokenizer", "student", "--teacher",
                 "openai:rules", *url]
        return {"prune": [*prune, "--concurrency", str(OUT)],
                "batch": [*prune, "--batch", "--poll", "0.05"]}.get(command) \
            or self.scene.line(command)

    def left(self) -> dict[str, bytes]:
        """What the command wrote, without its ledger."""
        made = [self.work / name for name in ("out", "g.jsonl", "s.jsonl", "page.html")]
        return {str(f.relative_to(self.work)): f.read_bytes()
                for top in made for f in (top, *top.rglob("*"))
                if f.is_file() and LEDGER not in f.name}

    def paid(self) -> int:
        return sum(self.server.answered.values())

    def calm(self, command: str) -> tuple[dict[str, bytes], int]:
        if command not in self._calm:
            self.server.strike, before = 0, self.paid()
            ran = self.arena.attack(*self.line(command))
            assert ran.code == 0, ran.said
            self._calm[command] = self.left(), self.paid() - before
            self.clean()
        return self._calm[command]

    def clean(self) -> None:
        self.scene.clean()
        for file in self.work.glob(f"*{LEDGER}*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
