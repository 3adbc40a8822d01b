"""TERM, INT, HUP, KILL, STOP, and files that may not grow, at each command that works for long or
writes much: run again, it leaves the bytes of an undisturbed run, and nothing is paid twice but
what was in flight."""

from __future__ import annotations

import signal

import pytest
from matrix import ASKING, OUT, WRITING, Matrix
from properties import broken


@pytest.fixture(autouse=True)
def _clean(matrix: Matrix):
    yield
    matrix.server.strike = 0
    matrix.clean()


SIGNALS = ("TERM", "INT", "HUP", "KILL", "STOP")


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("command", [*ASKING, *WRITING])
def test_a_signal(matrix: Matrix, command: str, name: str) -> None:
    how, server = getattr(signal, f"SIG{name}"), matrix.server
    expected, cost = matrix.calm(command)
    assert expected and (cost > 0) == (command in ASKING)
    before, server.asked, server.strike = matrix.paid(), 0, how
    if command in WRITING:
        ran = matrix.arena.run(*matrix.line(command), strike=(WRITING[command], int(how)))
    else:
        ran = matrix.arena.run(*matrix.line(command), pid=str(matrix.pid))
        assert server.asked >= 2, "the signal came"
    server.strike = 0
    assert ran.code in {"STOP": (0,), "INT": (130,), "TERM": (130, -how)}.get(name, (-how,)), \
        (ran.code, ran.said)
    assert not [x for x in broken(ran) if not x.startswith("ended with -")], ran.said
    for file, content in matrix.left().items():  # a file that is killed may leave its temporary
        if not file.endswith(".tmp") and "/batches/" not in file:  # until a batch is read
            assert content == expected[file], f"{file} is there and not whole"
    ran = matrix.arena.attack(*matrix.line(command))
    assert ran.code == 0, ran.said
    assert matrix.left() == expected
    again = matrix.paid() - before - cost
    assert 0 <= again <= (OUT if name in ("HUP", "KILL") and command != "batch" else 0)


@pytest.mark.parametrize("most", [500, 9_000, 40_000])
@pytest.mark.parametrize("command", [*ASKING, *WRITING, "score", "init"])
def test_a_file_that_may_not_grow(matrix: Matrix, command: str, most: int) -> None:
    """A full disk by its nearest relative: one line, and once there is room, all is well."""
    expected, cost = matrix.calm(command)
    before = matrix.paid()
    ran = matrix.arena.attack(*matrix.line(command), file=most)
    assert ran.code == 2 if most == 500 else ran.code in (0, 2), ran.said
    if ran.code:
        said = [x for x in ran.said.splitlines() if x.startswith("drp: ")]
        assert "too large" in said[-1] or "disk" in said[-1], ran.said
    left = matrix.left()
    assert all("/batches/" in file or content == expected[file]
               for file, content in left.items()), left.keys()
    ran = matrix.arena.attack(*matrix.line(command))
    assert ran.code == 0 and matrix.left() == expected, ran.said
    assert matrix.paid() - before - cost <= OUT
