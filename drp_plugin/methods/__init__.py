"""The compared ways to a shorter trace one file each, besides a teacher's pruning.

| name | method | source |
|---|---|---|
| `earliest-correct` | the shortest prefix with the correct answer | STOP's earliest correct node |
| `drp distill` | the teacher answers the question itself | §6.2, direct distillation |
"""

from __future__ import annotations

from importlib import import_module
from typing import NoReturn

from drp_plugin.llm.messages import Request, Teacher
from drp_plugin.pruning.values import Prune

TEACHER_FREE = {"earliest-correct": "earliest_correct"}
"""Methods that ask nobody, by name: each is a `Prune` of its own name in the module."""


class TeacherFree(Teacher):
    """A method that asks nobody, in a teacher's place."""

    local = asks_nothing = True

    def __init__(self, name: str) -> None:
        module = TEACHER_FREE[name]
        self.name = name
        self.identity = {"kind": "local", "model": name}
        self.prune: Prune = getattr(import_module(f"{__name__}.{module}"), module)

    async def ask(self, request: Request) -> NoReturn:
        raise AssertionError(f"{self.name} asks nothing")
