"""What the hostile tests share: the zygote, a server that answers, good files for every command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "wire"))

from matrix import Matrix, Striker
from properties import Arena, Zygote
from provider import Provider
from scene import Scene

from drp_plugin.llm.messages import Reply, Request, TeacherError
from drp_plugin.records import Usage
from drp_plugin.teachers.offline import OfflineTeacher


async def answer(request: Request) -> Reply:
    """Something that generate and distill take; the judge has his verdict."""
    return Reply(text="## REASONING\nI add.\n## ANSWER\nVersion A. \\boxed{20}",
                 usage=Usage(requests=1, prompt_tokens=9, completion_tokens=9))


async def either(request: Request) -> Reply:
    """The rules' answers to what pruning asks, and to the other commands `answer`."""
    try:
        return await OfflineTeacher().ask(request)
    except TeacherError:
        return await answer(request)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


@pytest.fixture(scope="module")
def scene(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Provider(answer) as provider:
        yield Scene(Arena(zygote, tmp_path_factory.mktemp("arena")), provider.port)


@pytest.fixture(scope="module")
def matrix(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    with Striker(either) as server:
        yield Matrix(Arena(zygote, tmp_path_factory.mktemp("matrix")), server)
