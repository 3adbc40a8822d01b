"""The demo's own machinery, with small commands in place of the long ones."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from drp_plugin.demo.lock import locked
from drp_plugin.demo.run import Runner, StageFailed
from drp_plugin.demo.stages import Stage, fraction
from drp_plugin.errors import UserError

QUIET = Console(quiet=True)


def stage(folder, name, code, seconds=1.0):
    out = folder / f"{name}.out"
    code = f"import sys, time; {code}; open({str(out)!r}, 'a').write('x')"
    return Stage(name, name, (sys.executable, "-c", code), (out,), seconds)


def run(folder, stages):
    with locked(folder) as lock:
        Runner(folder, stages, QUIET, lock).run()


def test_stages_run_once_and_a_changed_one_redoes_what_follows(tmp_path):
    one, two = stage(tmp_path, "one", "1"), stage(tmp_path, "two", "1")
    run(tmp_path, [one, two])
    run(tmp_path, [one, two])
    assert (tmp_path / "one.out").read_text() == "x"
    changed = stage(tmp_path, "one", "2")
    run(tmp_path, [changed, two])
    assert (tmp_path / "one.out").read_text() == "xx"
    assert (tmp_path / "two.out").read_text() == "xx"


def test_a_lost_output_is_made_again(tmp_path):
    one = stage(tmp_path, "one", "1")
    run(tmp_path, [one])
    (tmp_path / "one.out").unlink()
    run(tmp_path, [one])
    assert (tmp_path / "one.out").exists()


def test_a_failing_stage_says_why_and_stops_the_rest(tmp_path):
    bad = stage(tmp_path, "bad", "sys.exit('the disk is full')")
    with pytest.raises(StageFailed, match="the disk is full"):
        run(tmp_path, [bad, stage(tmp_path, "two", "1")])
    assert not (tmp_path / "two.out").exists()


def test_exit_0_without_the_output_is_a_failure(tmp_path):
    lying = Stage("lying", "lying", (sys.executable, "-c", "print('done')"), (tmp_path / "no",), 1)
    with pytest.raises(StageFailed, match="exit code 0"):
        run(tmp_path, [lying])


def test_two_demos_in_one_folder(tmp_path):
    with locked(tmp_path), pytest.raises(UserError, match="another demo"), locked(tmp_path):
        pass


def test_kill_9_leaves_no_orphan_beside_the_next_demo(tmp_path):
    slow = "import os; open('pid', 'w').write(str(os.getpid())); time.sleep(300)"
    code = f"""
import os, pathlib, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_demo_runner import run, stage
folder = pathlib.Path({str(tmp_path)!r})
os.chdir(folder)
run(folder, [stage(folder, 'slow', {slow!r})])
"""
    demo = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 600
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    demo.send_signal(signal.SIGKILL)
    demo.wait()
    orphan = int((tmp_path / "pid").read_text())
    os.kill(orphan, 0)  # it lives on, as expected
    run(tmp_path, [stage(tmp_path, "next", "1")])
    status = Path(f"/proc/{orphan}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [(" 45%|████ 1/2", 0.45), ("3% 97.5 %", 0.975), ("nothing", None), ("250%", None)],
)
def test_fraction_reads_the_last_percentage(tmp_path, text, expected):
    (tmp_path / "log").write_text(text)
    assert fraction(tmp_path / "log") == expected
