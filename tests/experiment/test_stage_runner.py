"""The stages of an experiment: small commands, and those of `make paper-smoke` as they are."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from drp_plugin.errors import UserError
from drp_plugin.experiment.file import read_experiment
from drp_plugin.experiment.stage_runner import Runner, StageFailed, locked
from drp_plugin.experiment.stages import Stage, fraction, moved

QUIET = Console(quiet=True)


def stage(folder, name, code, *needs, **more):
    out = folder / f"{name}.out"
    code = f"import sys, time\n{code}\nopen({str(out)!r}, 'a').write('x')"
    return Stage(name, name, (sys.executable, "-c", code), (out,), needs=needs, **more)


def run(folder, stages, jobs=1):
    with locked(folder) as lock:
        Runner(folder, stages, QUIET, lock, jobs=jobs).run()


def test_stages_run_once_and_a_changed_one_redoes_what_follows(tmp_path):
    one, two = stage(tmp_path, "one", "1"), stage(tmp_path, "two", "1", "one")
    beside = stage(tmp_path, "beside", "1")
    run(tmp_path, [one, two, beside])
    run(tmp_path, [one, two, beside])
    assert (tmp_path / "one.out").read_text() == "x"
    changed = stage(tmp_path, "one", "2")
    run(tmp_path, [changed, two, beside])
    assert (tmp_path / "beside.out").read_text() == "x"
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
        run(tmp_path, [bad, stage(tmp_path, "two", "1", "bad"), stage(tmp_path, "other", "1")])
    assert not (tmp_path / "two.out").exists()
    assert (tmp_path / "other.out").exists(), "what does not stand on it goes on"


def test_exit_0_without_the_output_is_a_failure(tmp_path):
    lying = Stage("lying", "lying", (sys.executable, "-c", "print('done')"), (tmp_path / "no",))
    with pytest.raises(StageFailed, match="exit code 0"):
        run(tmp_path, [lying])


def test_what_most_work_depends_on_goes_first(tmp_path):
    """Measurements wait, wherever they stand in the file, while a longer way can be gone on."""
    def timed(name, kind, seconds, *needs):
        code = f"time.sleep({seconds}); open({str(tmp_path / 'order')!r}, 'a').write('{name} ')"
        return stage(tmp_path, name, code, *needs, kind=kind)

    run(tmp_path, [
        *(timed(f"measure{i}", "evaluate", 1.2) for i in range(4)),
        timed("draw", "generate", 0.1), timed("prune", "prune", 0.1, "draw"),
        timed("train", "train", 0.1, "prune"),
        timed("last", "evaluate", 0.1, "train")], jobs=2)
    order = (tmp_path / "order").read_text().split()
    assert len(order) == 8 and order[0] == "draw"
    assert {"prune", "train"} <= set(order[:5]), order


def test_what_other_settings_left_is_cleared_and_a_killed_stage_goes_on_in_it(tmp_path):
    folder = tmp_path / "saves"
    code = (f"import os; os.makedirs({str(folder)!r}, exist_ok=True)\n"
            f"open({str(folder)!r} + '/%s', 'w')")
    run(tmp_path, [stage(tmp_path, "one", code % "a", clears=folder)])
    (tmp_path / "one.out").unlink()
    run(tmp_path, [stage(tmp_path, "one", code % "a", clears=folder)])
    assert [p.name for p in folder.iterdir()] == ["a"]
    run(tmp_path, [stage(tmp_path, "one", code % "b", clears=folder)])
    assert [p.name for p in folder.iterdir()] == ["b"]


def test_stages_run_side_by_side(tmp_path):
    """Each waits for a file that the other one makes: one after the other they would never end."""
    def meets(name, other):
        mine, theirs = tmp_path / f"{name}.here", tmp_path / f"{other}.here"
        return stage(tmp_path, name, f"""
import pathlib
pathlib.Path({str(mine)!r}).touch()
while not pathlib.Path({str(theirs)!r}).exists(): time.sleep(0.05)
""".strip())

    run(tmp_path, [meets("one", "two"), meets("two", "one")], jobs=2)
    assert (tmp_path / "one.out").exists() and (tmp_path / "two.out").exists()


def test_an_evaluation_leaves_the_processor_to_other_stages(tmp_path):
    own = os.getpriority(os.PRIO_PROCESS, 0)
    priority = "import os\nown = lambda: os.getpriority(os.PRIO_PROCESS, 0)\n"
    waits = f"for _ in range(600):\n    if own() > {own}: break\n    time.sleep(0.1)\n"
    run(tmp_path, [stage(tmp_path, "one", f"{priority}{waits}else: sys.exit('as before')",
                         kind="evaluate")])
    run(tmp_path, [stage(tmp_path, "two", f"{priority}assert own() == {own}", kind="train")])


def test_rounds_end_when_the_curve_no_longer_moves(tmp_path):
    def measured(name, tokens):
        folder = tmp_path / name / "model"
        folder.mkdir(parents=True)
        (folder / "x_results.json").write_text(json.dumps(
            {"results": {"drp_tiny": {"tokens,none": tokens}}}))
        return str(tmp_path / name)

    first, second, third = measured("1", 300.0), measured("2", 200.0), measured("3", 199.0)
    assert moved((first,)) and moved((first, second)) and not moved((first, second, third))
    run(tmp_path, [stage(tmp_path, "third", "1", still=(first, second)),
                   stage(tmp_path, "fourth", "1", still=(first, second, third)),
                   stage(tmp_path, "after", "1", "fourth", still=(first, second, third))])
    assert (tmp_path / "third.out").exists()
    assert not (tmp_path / "fourth.out").exists() and not (tmp_path / "after.out").exists()


def test_two_experiments_in_one_folder(tmp_path):
    with locked(tmp_path), pytest.raises(UserError, match="another experiment"), locked(tmp_path):
        pass


def begin(folder):
    """An experiment in a process of its own, and the stage that it runs."""
    slow = "import os; open('pid', 'w').write(str(os.getpid())); time.sleep(300)"
    code = f"""
import os, pathlib, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_stage_runner import run, stage
folder = pathlib.Path({str(folder)!r})
os.chdir(folder)
run(folder, [stage(folder, 'slow', {slow!r})])
"""
    experiment = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 600
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return experiment, int((folder / "pid").read_text())


def ended(process):
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().split()[2] == "Z"


def test_kill_9_leaves_no_orphan_beside_the_next_one(tmp_path):
    experiment, orphan = begin(tmp_path)
    experiment.send_signal(signal.SIGKILL)
    experiment.wait()
    os.kill(orphan, 0)  # it lives on, as expected
    run(tmp_path, [stage(tmp_path, "next", "1")])
    assert ended(orphan)


def test_what_a_scheduler_sends_ends_the_stages_too(tmp_path):
    experiment, running = begin(tmp_path)
    experiment.send_signal(signal.SIGTERM)
    assert experiment.wait() != 0
    assert ended(running)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(" 45%|████ 1/2", 0.45), ("3% 97.5 %", 0.975), ("nothing", None), ("250%", None),
     ("100%|██| 600/600\ndrp: drp_hf 250/1000, 3.4/s\n", 0.25), ("drp: prune 3/4, 1.0/s", 0.75),
     ("drp: drp_hf 9/10, 1/s\n 5%|", 0.05), ("drp: rows 0/0, 1/s", None)],
)
def test_fraction_reads_what_was_said_last(tmp_path, text, expected):
    (tmp_path / "log").write_text(text)
    assert fraction(tmp_path / "log") == expected


def test_another_launcher_or_place_redoes_nothing(tmp_path):
    """Nobody loses a week of GPU time to the name of a Slurm partition."""
    def experiment(folder, start):
        out = folder / "one.out"
        asked = ("write", str(out))
        code = "import sys; open(sys.argv[-1], 'a').write('x')"
        return Stage("one", "one", (*start, sys.executable, "-c", code, *asked), (out,),
                     asked=asked, kind="generate")

    here, there = tmp_path / "here", tmp_path / "there"
    run(here, [experiment(here, ())])
    here.rename(there)
    run(there, [experiment(there, ("env", "PARTITION=long"))])
    assert (there / "one.out").read_text() == "x"


def test_what_a_stage_writes_is_not_what_it_reads(tmp_path):
    """Else its own output redoes it, and every training that stands on it."""
    out, given = tmp_path / "one.out", tmp_path / "questions.jsonl"
    given.write_text("1")
    code = "import sys; open(sys.argv[-1], 'a').write('x')"
    one = Stage("one", "one", (sys.executable, "-c", code, str(given), str(out)), (out,),
                kind="generate")
    for _ in range(3):
        run(tmp_path, [one])
    assert out.read_text() == "x"
    given.write_text("12")
    run(tmp_path, [one])
    assert out.read_text() == "xx"


@pytest.mark.parametrize("left", ["", '{"one": {"che', "no JSON"])
def test_notes_that_a_kill_cut_off_stop_nothing(tmp_path, left):
    one, two = stage(tmp_path, "one", "1"), stage(tmp_path, "two", "1", "one")
    run(tmp_path, [one])
    (tmp_path / ".doit.json").write_text(left)
    run(tmp_path, [one, two])
    assert (tmp_path / "one.out").read_text() == (tmp_path / "two.out").read_text() == "x"


@pytest.mark.framework
@pytest.mark.timeout(3000)
def test_paper_smoke_fills_every_row(tmp_path):
    """Every method of the paper, a few rows each, through the real frameworks; and only once."""
    command = [sys.executable, "-m", "drp_plugin", "experiment", "paper_smoke", "-o", "out",
               "--jobs", "1"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    experiment = read_experiment(Path("paper_smoke"))
    rows = json.loads((tmp_path / "out/tiny/report/results.json").read_text())["rows"]
    filled = {(row["method"], row["task"]) for row in rows if row["n"] == 4 and row["tokens"] > 0}
    assert filled == {(name, task) for name in experiment.methods for task in experiment.tasks}

    def logs():  # all but the report's, which is printed again
        return {log: log.stat().st_mtime_ns for log in (tmp_path / "out/logs").glob("*.log")
                if not log.stem.endswith("report")}

    before = logs()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert before and before == logs()
