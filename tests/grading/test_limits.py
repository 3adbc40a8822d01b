"""Hostile input is bounded in time, threads do not disturb each other, grades repeat."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cpu import effort
from hypothesis import given, settings
from hypothesis import strategies as st

from drp_plugin.grading import compare, equal, grade, worker

HOSTILE = [
    "9^{9^{9^9}}", "{" * 1_000_000, "\\boxed{" * 100_000, "}" * 1_000_000, "(" * 100_000,
    "\\frac{" * 5_000, "1" * 1_000_000, "\\sqrt{" * 900 + "2" + "}" * 900, "2^{2^{2^{2^{2^{2}}}}}",
    "100000!", "\\binom{100000}{50000}", "1/" * 800 + "1", "\\pm" * 40 + "1", "\\$" * 100_000,
    " " * 1_000_000 + "5", "The answer is " * 50_000, "1,000," * 20_000, "10^{10^{10}}",
    "(1+x)^{10000000}", "x<" * 1_000 + "1", "\\begin{pmatrix}" + "1 & " * 50_000 + "\\end{pmatrix}",
    "\\text{" * 1_000 + "a" + "}" * 1_000, "\\left(" * 2_000 + "1" + "\\right)" * 2_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=[h[:16] for h in HOSTILE])
def test_hostile_text_is_graded_soon(text: str) -> None:
    def both() -> None:
        for completion in (f"t</think>\\boxed{{{text}}}", f"t</think>{text}"):
            assert grade(completion, "7", "math500").outcome in ("wrong", "no_answer")

    assert effort(both) < 300


#: What Python takes for digits or letters and a number's grammar does not, and pieces of LaTeX.
PIECES = [*"0179.,:;+-−*/^_=<>!|'()[]{}\\ $%&€°π∞×√²⁴⁵⁻¹₀₁①⅓½٣５xyzABei\0\2\3\ud800𝟓",
          "...", " p.m.", "\\frac", "\\sqrt", "\\text{", "\\pm", "\\cup", "\\overline{", "\\\\",
          "\\le", "\\infty", "\\pmod", " million", "\\mathbb{R}", "|x|", "\\binom", "\\log_",
          "^{", "^\\circ", "\\{", "\\}", "April ", "base ", "\\begin{pmatrix}", "\\end{pmatrix}",
          "]0,1[", "x=", "\\lfloor"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)


@pytest.mark.parametrize("text", [
    "7:30 p.m.", "9 a.m.", "2:00 P.M.", "1, 2, ..., 10", "x⁴+1", "2⁵", "10⁶", "x₁", "①", "0.٣"])
@pytest.mark.parametrize("dataset", ["math500", "gsm8k", "aime24", None])
def test_signs_that_only_look_like_numbers(text: str, dataset: str | None) -> None:
    assert not equal(text, "7", dataset)
    assert not equal("7", text, dataset)


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.one_of(TEXTS, st.sampled_from(["5", "10\\%", "(1,2)", "x<3", "4_5"])),
       st.sampled_from(["math500", "gsm8k", "aime24"]))
def test_no_text_ends_a_run(candidate: str, gold: str, dataset: str) -> None:
    for answer in (candidate, f"\\boxed{{{candidate}}}"):
        assert isinstance(equal(answer, gold, dataset), bool)
        for ended in (True, False):
            grade(f"x</think>{answer}", gold, dataset, ended=ended)


def test_an_error_in_the_grammar_is_no_equality(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(compare, "read", fail)
    assert not equal("an answer that nobody has asked for", "8")


@pytest.mark.parametrize("text", ["\\sum_{k=1}^{10^{10}} k^{k}", "9^{9^{9^9}}+\\int x"])
def test_what_sends_sympy_astray_is_stopped(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # by the CPU time that it takes, not by the clock on the wall
    monkeypatch.setattr(worker, "WALL_SECONDS", 1e6)
    assert not equal(text, "5")
    assert equal("\\sum_{k=1}^{4} k", "10"), "the worker must be there again"


def test_a_text_equals_itself_however_hostile() -> None:
    assert equal("9^{9^{9^9}}", "9^{9^{9^9}}")
    assert not equal("9^{9^{9^9}}", "9^{9^{9^8}}")


def test_threads() -> None:
    questions = [(f"\\sum_{{k=1}}^{{{n}}} k", str(n * (n + 1) // 2 + n % 2)) for n in range(2, 14)]
    expected = [n % 2 == 0 for n in range(2, 14)]
    results: list[list[bool]] = []

    def run() -> None:
        results.append([equal(a, b) for a, b in questions])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_a_killed_worker_is_replaced() -> None:
    assert equal("\\sum_{k=1}^{5} k", "15")
    assert worker._child is not None
    worker._child.process.kill()
    worker._child.process.wait()
    assert equal("\\sum_{k=1}^{6} k", "21")


def test_a_forked_process_gets_its_own_worker() -> None:
    assert equal("\\sum_{k=1}^{7} k", "28")
    pid = os.fork()
    if pid == 0:
        right = equal("\\sum_{k=1}^{8} k", "36")
        worker.stop()
        os._exit(0 if right else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert equal("\\sum_{k=1}^{9} k", "45")


def test_the_worker_ends_with_its_parent() -> None:
    code = ("from drp_plugin.grading import equal, worker\n"
            "assert equal('\\\\sum_{k=1}^{5} k', '15')\n"
            "print(worker._child.process.pid)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there")


@pytest.mark.parametrize("refused", [ValueError, OSError])
def test_a_system_that_refuses_the_memory_limit_grades_all_the_same(refused: type) -> None:
    """macOS does, and so does a hard limit that is lower already."""
    asked = str(Path(__file__).parents[2] / "drp_plugin" / "grading" / "asked.py")
    code = ("import resource\n"
            "limit = resource.setrlimit\n"
            "def setrlimit(which, values):\n"
            f"    if which == resource.RLIMIT_AS: raise {refused.__name__}('no')\n"
            "    limit(which, values)\n"
            "resource.setrlimit = setrlimit\n"
            "import sys, runpy\n"
            f"sys.argv = [{asked!r}, '2.0', '3221225472']\n"
            f"runpy.run_path({asked!r}, run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", code], input='["7", "14/2"]\n',
                          capture_output=True, text=True)
    assert done.stdout.split() == ["ready", "true"], done.stderr


def test_the_worker_runs_nothing_from_the_current_folder(tmp_path: Path) -> None:
    planted = "raise SystemExit('planted code ran')\n"
    for name in ("math_verify", "sympy", "drp_plugin/__init__", "drp_plugin/grading/asked", "json"):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n{planted}")
    root = str(Path(__file__).parents[2])
    code = (f"import sys\nsys.path.insert(0, {root!r})\n"
            "from drp_plugin.grading import equal\n"
            f"sys.path[:0] = ['', '.', {str(tmp_path)!r}]\n"
            "print(equal('\\\\sum_{k=1}^{5} k', '15'))\n")
    for path in ("", f":{tmp_path}", f"{tmp_path}{os.pathsep}."):
        environment = {**os.environ, "PYTHONPATH": ""}
        done = subprocess.run(
            [sys.executable, "-P", "-c", f"import os\nos.environ['PYTHONPATH'] = {path!r}\n{code}"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "True", done.stderr
        assert not (tmp_path / "ran").exists()


def test_the_worker_needs_no_installed_package(tmp_path: Path) -> None:
    """Where the parent has found drp_plugin by a path of its own, the worker starts as well."""
    root = Path(__file__).parents[2] / "drp_plugin"
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "drp_plugin").symlink_to(root)
    code = ("import sys\nsys.path.insert(0, 'lib')\n"
            "from drp_plugin.grading import equal\n"
            "print(equal('\\\\sum_{k=1}^{5} k', '15'))\n")
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True,
                          text=True, check=False, env={**os.environ, "PYTHONPATH": ""})
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("text", [
    "\\overline{" * 300 + "1" + "}" * 300, "0." + "12" * 900 + "\\ldots", "(" * 900 + ")" * 900,
    "|" * 1_500, "5" + "!" * 1_500, "x^" * 700 + "2", "-" * 1_999, "[0,1]\\cup" * 200 + "[1,2]",
    "\\text{and}" * 180, "1 and " * 300, "\\sqrt2," * 280, "\\frac" + "1" * 1_900, "2^{-" * 400,
    "\\begin{cases}" * 100, "x<1 or " * 250, "\ud800" * 1_000, "0.(" + "9" * 1_900 + ")",
    "\\pm\\mp" * 300, "1:" * 900 + "1", "a_{" * 600, "$5/" * 600, "四分之" * 600, "⁄" * 1_900])
def test_long_answers_of_every_shape(text: str) -> None:
    for gold in ("7", "(1,2)", "x<3", "\\{1,2\\}", "\\text{(B)}", "5\\text{ m/s}"):
        assert not equal(text, gold)
    assert equal(text, text)
    grade(f"x</think>{text}", "7")
    grade(f"x</think>The answer is {text}", "7")
