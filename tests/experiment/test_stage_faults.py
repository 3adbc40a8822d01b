"""An experiment whose stages, marks and measurements are damaged, killed or shared."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console
from test_stage_runner import QUIET, ended, run

from drp_plugin.errors import UserError
from drp_plugin.experiment import stage_runner
from drp_plugin.experiment.stage_runner import Runner, StageFailed, locked
from drp_plugin.experiment.stages import Marks, Stage, fraction


def shell(folder, name, text, *needs, **more):
    """A stage that is quick to start."""
    out = folder / f"{name}.out"
    return Stage(name, name, ("sh", "-c", f"{text}\necho >> '{out}'"), (out,), needs=needs,
                 cwd=folder, **more)


def no_program(folder):
    return ("no-such-program",), None, "no-such-program: No such file"


def no_right(folder):
    (folder / "program").touch()
    return (str(folder / "program"),), None, "Permission denied"


def no_folder(folder):
    return ("sh", "-c", ""), folder / "nowhere", "nowhere: No such file"


def nul(folder):
    return ("sh", "-c", "echo \0"), None, "null byte"


def long(folder):
    return ("sh", "-c", ": " + "x" * 3_000_000), None, "Argument list too long"


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("why", [no_program, no_right, no_folder, nul, long])
def test_a_stage_that_cannot_start_is_named_and_the_others_run(tmp_path, capfd, why, jobs):
    command, cwd, says = why(tmp_path)
    bad = Stage("bad", "bad", command, (tmp_path / "no",), cwd=cwd)
    with pytest.raises(StageFailed, match=f"bad failed: .*{says}"):
        run(tmp_path, [bad, *(shell(tmp_path, f"other{i}", "") for i in range(3))], jobs)
    assert len(list(tmp_path.glob("other*.out"))) == 3
    assert not capfd.readouterr().err


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("place", ["logs", ".done"])
def test_a_file_where_a_folder_has_to_be_is_named(tmp_path, capfd, place, jobs):
    (tmp_path / place).write_text("")
    with pytest.raises(StageFailed, match=f"one failed: .*{place}"):
        run(tmp_path, [shell(tmp_path, "one", ""), shell(tmp_path, "two", "", "one")], jobs)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("left", [b"", b"\xff\xfe\x00", b"{", b"\n\n", b"0 1 2"])
def test_a_damaged_mark_is_none(tmp_path, capfd, left):
    one, two = shell(tmp_path, "one", ""), shell(tmp_path, "two", "", "one")
    run(tmp_path, [one, two])
    (tmp_path / ".done" / "one").write_bytes(left)
    run(tmp_path, [one, two])
    assert [len((tmp_path / f"{name}.out").read_text()) for name in ("one", "two")] == [2, 2]
    assert not capfd.readouterr().err


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[]", b'{"results": []}',
                                  b'{"results": {"t": {"tokens,none": "many"}}}'])
def test_damaged_results_of_a_round_are_named_and_the_others_run(tmp_path, capfd, text, jobs):
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder in folders:
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "x_results.json").write_bytes(text)
    bad = shell(tmp_path, "bad", "", still=tuple(map(str, folders)))
    with pytest.raises(StageFailed, match=f"bad failed: {tmp_path}.*_results.json: .*Remove"):
        run(tmp_path, [bad, shell(tmp_path, "after", "", "bad"), shell(tmp_path, "other", "")],
            jobs)
    assert (tmp_path / "other.out").exists() and not (tmp_path / "after.out").exists()
    assert not capfd.readouterr().err


def test_a_failure_is_told_at_once(tmp_path):
    """Not days later, when all other stages have ended."""
    told = tmp_path / "told"
    bad = shell(tmp_path, "bad", "exit 3")
    long = shell(tmp_path, "long", "i=0; until grep -q 'bad.*failed' told; do sleep 0.1; "
                                   "i=$((i+1)); [ $i -lt 600 ] || exit 1; done")
    with open(told, "w") as file, locked(tmp_path) as lock, pytest.raises(StageFailed) as failed:
        Runner(tmp_path, [bad, long], Console(file=file, force_terminal=False), lock, jobs=2).run()
    assert "long failed" not in str(failed.value) and (tmp_path / "long.out").exists()
    assert f"failed: exit code 3, see {tmp_path}/logs/bad.log\n" in told.read_text()


def test_more_stages_may_be_ready_than_threads_are_usual(tmp_path):
    """The one that others stand on goes first, also where it is the last of a hundred."""
    order = tmp_path / "order"
    run(tmp_path, [
        *(shell(tmp_path, f"measure{i}", f"echo measure >> '{order}'", kind="evaluate")
          for i in range(100)),
        shell(tmp_path, "draw", f"echo draw >> '{order}'", kind="generate"),
        shell(tmp_path, "train", f"echo train >> '{order}'", "draw", kind="train"),
        shell(tmp_path, "last", "", "train", kind="evaluate")], jobs=25)
    assert order.read_text().split().index("draw") < 50
    assert order.read_text().split().index("train") < 100


def test_as_many_run_side_by_side_as_were_asked_for(tmp_path):
    """Each waits until all of them run."""
    meet = tmp_path / "meet"
    meet.mkdir()
    wait = f"mkdir '{meet}'/$$; until [ $(ls '{meet}' | wc -l) -ge 70 ]; do sleep 0.3; done"
    run(tmp_path, [shell(tmp_path, f"s{i}", wait) for i in range(70)], jobs=70)


def interrupted(folder, stages):
    """Run stages of which one fails: what a kill leaves behind, without a kill."""
    with pytest.raises(StageFailed):
        run(folder, stages)


def test_what_a_kill_left_half_made_is_made_again(tmp_path):
    """Its mark of before, and an output that exists, do not make it whole."""
    cut = tmp_path / "cut"
    one = shell(tmp_path, "one", f"[ ! -e '{cut}' ] || {{ touch '{tmp_path}/one.out'; exit 1; }}")
    run(tmp_path, [one])
    (tmp_path / "one.out").unlink()
    cut.touch()
    interrupted(tmp_path, [one])
    assert (tmp_path / "one.out").exists()
    cut.unlink()
    run(tmp_path, [one])
    assert (tmp_path / "one.out").read_text() == "\n"


@pytest.mark.parametrize("how", ["until", "failed", "only"])
def test_what_stands_on_something_made_again_is_made_again_later_too(tmp_path, how):
    """A training was repeated; its measurement was not reached, or not asked for, in that run."""
    cut = tmp_path / "cut"
    one, beside = shell(tmp_path, "one", ""), shell(tmp_path, "beside", "")
    two = shell(tmp_path, "two", f"[ ! -e '{cut}' ]", "one", "beside")
    three = shell(tmp_path, "three", "", "two")
    run(tmp_path, [one, beside, two, three])
    (tmp_path / "one.out").unlink()
    if how == "failed":
        cut.touch()
        two = shell(tmp_path, "two", f"[ ! -e '{cut}' ] || exit 1", "one", "beside")
        interrupted(tmp_path, [one, beside, two, three])
        cut.unlink()
    else:
        run(tmp_path, [one] if how == "until" else [beside, one])
    run(tmp_path, [one, beside, two, three])
    assert [len((tmp_path / f"{name}.out").read_text())
            for name in ("one", "beside", "two", "three")] == [1, 1, 2, 2]


def test_marks_of_earlier_releases_hold(tmp_path):
    """They hold the digest alone."""
    stages = [shell(tmp_path, "one", ""), shell(tmp_path, "two", "", "one")]
    run(tmp_path, stages)
    for mark in (tmp_path / ".done").iterdir():
        mark.write_text(mark.read_text().split()[0] + "\n")
    run(tmp_path, stages)
    assert (tmp_path / "two.out").read_text() == "\n"
    (tmp_path / "one.out").unlink()
    run(tmp_path, stages[:1])
    run(tmp_path, stages)
    assert (tmp_path / "two.out").read_text() == "\n\n"


@pytest.mark.parametrize("name", ["José's run", "实验", 'a "b" \\c'])
def test_another_place_redoes_nothing_whatever_its_name(tmp_path, name):
    def experiment(folder):
        return Stage("one", "one", ("sh", "-c", 'echo >> "$0"', str(folder / "one.out")),
                     (folder / "one.out",), kind="generate")

    here, there = tmp_path / name, tmp_path / "there"
    run(here, [experiment(here)])
    here.rename(there)
    run(there, [experiment(there)])
    assert (there / "one.out").read_text() == "\n"


@pytest.mark.parametrize("word", ["x" * 300, "/" + "x" * 999, "a\0b", "y" * 5000])
def test_a_long_or_odd_word_of_a_command_is_no_file(tmp_path, word):
    Marks(tmp_path, [Stage("one", "one", ("drp", word), (), kind="generate")])


def ends(process):
    """Whether it ends: who is killed on a busy machine does not do so at once."""
    return any(ended(process) or time.sleep(0.1) for _ in range(3000))


class Forked:
    """An experiment in a process of its own."""

    def __init__(self, folder, *texts, jobs=1, ignored=()):
        stages = [shell(folder, f"s{i}", text) for i, text in enumerate(texts)]
        self.process = os.fork()
        if not self.process:
            with contextlib.suppress(BaseException):
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.signal(signal.SIGHUP, signal.SIG_DFL)
                for number in ignored:
                    signal.signal(number, signal.SIG_IGN)
                run(folder, stages, jobs=jobs)
                os._exit(0)
            os._exit(1)
        self.code = None

    def poll(self):
        if self.code is None:
            process, status = os.waitpid(self.process, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if process else None
        return self.code

    def send(self, number):
        os.kill(self.process, number)

    def wait(self):
        while self.poll() is None:
            time.sleep(0.1)
        return self.code


def start(folder, *texts, **more):
    """An experiment, once the file `pid` is there, and what that holds."""
    experiment, file = Forked(folder, *texts, **more), folder / "pid"
    while not file.exists() or not file.read_text().endswith("\n"):
        assert experiment.poll() is None
        time.sleep(0.05)
    return experiment, int(file.read_text())


WAITS = "echo $$ > pid; while :; do sleep 0.1; done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stages_that_wait_for_a_place_never_start_after_a_signal(tmp_path, number):
    experiment, running = start(tmp_path, WAITS, *["touch ran"] * 8, jobs=1)
    experiment.send(number)
    assert experiment.wait() != 0 and ends(running) and not (tmp_path / "ran").exists()


def test_so_with_several_places(tmp_path):
    experiment, running = start(tmp_path, *[WAITS] * 12, jobs=3)
    time.sleep(0.5)
    experiment.send(signal.SIGTERM)
    assert experiment.wait() != 0 and ends(running)
    run(tmp_path, [shell(tmp_path, "next", "")])  # nobody holds the lock


def test_where_ctrl_c_is_ignored_the_stages_are_asked_to_end_by_another_signal(tmp_path):
    """As in `nohup drp experiment … &` of a script."""
    polite = "trap 'touch tidied; exit 1' TERM; " + WAITS
    experiment, running = start(tmp_path, polite, ignored=(signal.SIGINT, signal.SIGHUP))
    experiment.send(signal.SIGINT)
    experiment.send(signal.SIGHUP)
    time.sleep(1)
    assert experiment.poll() is None and not ended(running)
    experiment.send(signal.SIGTERM)
    assert experiment.wait() != 0 and ends(running) and (tmp_path / "tidied").exists()


def test_impatience_leaves_no_stage(tmp_path):
    """Ctrl-C again and again, and a stage that does not care for it."""
    experiment, running = start(tmp_path, "trap '' INT TERM; " + WAITS)
    while experiment.poll() is None:
        experiment.send(signal.SIGTERM)
        time.sleep(0.3)
    assert ends(running)


@pytest.mark.parametrize("end", ["exit 1", "kill -9 $$", ""])
def test_what_a_stage_left_running_ends_with_it(tmp_path, end):
    """It would hold the GPU, and the folder's lock."""
    code = f"sleep 600 & echo $! > '{tmp_path}/pid'; {end}"
    stages = [shell(tmp_path, "one", code)]
    interrupted(tmp_path, stages) if end else run(tmp_path, stages)
    assert ends(int((tmp_path / "pid").read_text()))


def test_what_outlives_the_stage_that_is_stopped_ends_too(tmp_path):
    """The stage itself obeys Ctrl-C, its worker does not."""
    code = "(trap '' INT TERM; sh -c 'echo $$ > pid; sleep 600') & trap 'exit 1' INT TERM; wait"
    experiment, worker = start(tmp_path, code)
    experiment.send(signal.SIGTERM)
    assert experiment.wait() != 0 and ends(worker)


def test_a_stage_that_begins_as_all_are_stopped_is_stopped(tmp_path, monkeypatch):
    begin, stopping = subprocess.Popen, []

    def between(*words, **more):
        stopping.append(threading.Thread(target=runner.stop))
        stopping[0].start()
        time.sleep(0.3)
        return begin(*words, **more)

    monkeypatch.setattr(stage_runner.subprocess, "Popen", between)
    with locked(tmp_path) as lock:
        runner = Runner(tmp_path, [shell(tmp_path, "one", "sleep 15")], QUIET, lock)
        with pytest.raises(StageFailed):
            runner.run()
    stopping[0].join()
    assert not (tmp_path / "one.out").exists()


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_signal_at_the_very_start_of_a_stage_leaves_none(tmp_path, monkeypatch, jobs):
    begin, begun = subprocess.Popen, []

    def signalled(*words, **more):
        begun.append(begin(*words, **more))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
        return begun[0]

    monkeypatch.setattr(stage_runner.subprocess, "Popen", signalled)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, [shell(tmp_path, "one", "sleep 600")], jobs)
    assert len(begun) == 1 and ends(begun[0].pid)


def test_an_experiment_of_another_machine_is_left_alone(tmp_path):
    """Its process numbers mean other processes here."""
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        with locked(tmp_path):
            (tmp_path / ".lock").write_text(f"999999999 {bystander.pid} elsewhere\n")
            with pytest.raises(UserError, match=r"another experiment .*elsewhere"), \
                    locked(tmp_path):
                pass
        assert bystander.poll() is None
    finally:
        bystander.kill()


@pytest.mark.parametrize("text", ["drp: prune 9" + "9" * 900 + "/1, 3/s", "9" * 900 + "%",
                                  "drp: a/b, 0/0, 1/0, 2/s"])
def test_odd_logs_hold_no_progress(tmp_path, text):
    (tmp_path / "log").write_text(text)
    assert fraction(tmp_path / "log") in (None, 0.99, 1)


def test_round_results_count_as_before(tmp_path):
    """The mean over the tasks that have tokens."""
    def measured(name, *tokens):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "x_results.json").write_text(json.dumps({"results": {
            "other": {"alias": "other"}, **{f"t{i}": {"tokens,none": t}
                                            for i, t in enumerate(tokens)}}}))
        return str(tmp_path / name)

    same = shell(tmp_path, "same", "", still=(measured("1", 100, 200), measured("2", 151, 148)))
    run(tmp_path, [same, shell(tmp_path, "more", "", still=(measured("3", 100), measured("4")))])
    assert not Path(tmp_path / "same.out").exists() and Path(tmp_path / "more.out").exists()
