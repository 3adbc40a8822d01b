"""Several samples of a problem and several runs of a method, with answers known beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev

import pytest
from click.testing import CliRunner

from drp_plugin.cli import group
from drp_plugin.errors import UserError
from drp_plugin.report import Results, make_report, read_runs, score_run
from drp_plugin.report.results import majority
from drp_plugin.scoring import Reading
from drp_plugin.tokens import TokenCounter

from .conftest import GREEDY, Writer, completion


def sampled(answers: list[list[int]], words: int = 10) -> list[dict]:
    """Documents whose gold is 10 i, with these answers as samples."""
    return [{"doc_id": i, "target": str(10 * i), "doc_hash": f"{i:064d}", "input": f"Q{i}",
             "filtered_resps": [completion(a, words) for a in own], "token_counts": [None]}
            for i, own in enumerate(answers)]


def report_of(runs: list[str], counter: TokenCounter) -> Results:
    scored = [score_run(run, counter, 12_000) for run in read_runs(runs)]
    return make_report(scored, 12_000, "qwen")


def test_known_answers(write: Writer, counter: TokenCounter) -> None:
    """Problem 0: all four right; 1: two right, two alike wrong; 2: one right, three wrong."""
    folder = write("one", {"drp_gsm8k": sampled([[0] * 4, [10, 10, 7, 7], [20, 8, 8, 9]])})
    row = report_of([f"A={folder}"], counter).rows[0]
    assert (row.n, row.repeats, row.runs) == (3, 4, 1)
    shares = [1, 0.5, 0.25]
    assert row.accuracy == pytest.approx(fmean(shares))
    assert row.accuracy_se == pytest.approx(stdev(shares) / 3 ** 0.5)
    assert row.pass_at == pytest.approx([
        fmean(shares), fmean([1, 1 - 1 / 6, 1 / 2]), fmean([1, 1, 3 / 4]), 1.0])
    # the second problem is a tie, the third is lost to 8
    assert row.majority == pytest.approx((1 + 0.5 + 0) / 3)
    # runs are the 1st, 2nd, 3rd and 4th sample: 3, 2, 1 and 1 of three problems right
    assert row.spread == pytest.approx(stdev([1, 2 / 3, 1 / 3, 1 / 3]))


def reading(answer: str | None, right: bool) -> Reading:
    return Reading(cutoff=None, outcome="right" if right else "wrong", correct=right,
                   extracted=answer, extraction="boxed", tokens=1, think_tokens=0,
                   answer_tokens=1, truncated=False)


@pytest.mark.parametrize(("answers", "chance"), [
    ([("1/2", True), ("0.5", True), ("3", False)], 1.0),
    ([("7", False), ("7.0", False), ("5", True)], 0.0),
    ([("7", False), ("8", False), ("5", True)], 1 / 3),
    ([(None, False), (None, False), ("5", True)], 1.0),
    ([(None, False), (None, False)], 0.0)])
def test_majority(answers: list[tuple[str | None, bool]], chance: float) -> None:
    """Spellings of one answer vote together; no answer has no vote."""
    assert majority([reading(*a) for a in answers], "math500") == pytest.approx(chance)


def test_runs_of_one_name_are_pooled(write: Writer, counter: TokenCounter) -> None:
    """Three seeds of 4 problems: mean ± sd over seeds, problems as clusters."""
    seeds = [[[0], [10], [20], [1]], [[0], [10], [1], [1]], [[0], [1], [1], [1]]]
    base = write("base", {"drp_gsm8k": sampled([[0], [10], [20], [30]])})
    runs = [f"DRP={write(f's{i}', {'drp_gsm8k': sampled(a)})}" for i, a in enumerate(seeds)]
    report = report_of([f"Base={base}", *runs], counter)
    row = next(r for r in report.rows if r.method == "DRP")
    assert (row.n, row.repeats, row.runs) == (4, 3, 3)
    assert row.accuracy == pytest.approx(fmean([0.75, 0.5, 0.25]))
    assert row.spread == pytest.approx(stdev([0.75, 0.5, 0.25]))
    cell = next(line.cells[1] for line in report.tables[0].lines if line.cells[0].text == "DRP")
    assert cell.text == "50.0% ± 25.0" and cell.small
    c = report.comparisons[0]
    # shares fall by 0, 1/3, 2/3 and 1: of 8 patterns of signs two are as far from 0
    assert (c.worse, c.better, c.p, c.mcnemar_p) == (3, 0, 2 / 8, None)
    table = next(t for t in report.tables if t.name == "samples")
    assert ["1 × 1", "3 × 1"][1] in {line.cells[2].text for line in table.lines}


def test_samples_of_several_runs_are_taken_run_by_run(write: Writer, counter: TokenCounter) -> None:
    """Two seeds of two problems with two samples. One seed is always right on the first problem,
    the other never: pass@2 is 1/2 there, not the 5/6 of any two of the four answers."""
    seeds = [[[0, 0], [10, 3]], [[1, 2], [10, 10]]]
    runs = [f"A={write(f's{i}', {'drp_gsm8k': sampled(a, 5 + i)})}" for i, a in enumerate(seeds)]
    row = report_of(runs, counter).rows[0]
    assert (row.repeats, row.runs) == (4, 2)
    assert row.pass_at == pytest.approx([(0.5 + 0.75) / 2, (0.5 + 1) / 2])
    assert row.majority == pytest.approx((0.5 + 0.75) / 2)


def test_runs_with_missing_samples_keep_their_own(write: Writer, counter: TokenCounter) -> None:
    """The first seed lacks a sample of the second problem; both seeds are told as they are."""
    seeds = [[[0, 0], [10]], [[1, 2], [3, 4]]]
    runs = [f"A={write(f's{i}', {'drp_gsm8k': sampled(a, 5 + i)})}" for i, a in enumerate(seeds)]
    row = report_of(runs, counter).rows[0]
    assert row.accuracy == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert row.spread == pytest.approx(stdev([1, 0])) and row.pass_at == ()


def test_very_ragged_samples_are_tested(write: Writer, counter: TokenCounter) -> None:
    """The common denominator of 11, 13, 16, 17 and 19 samples is 739,024."""
    sizes = [11, 13, 16, 17, 19, 1]
    before = [[10 * i] * k for i, k in enumerate(sizes)]
    after = [[10 * i, *[5] * (k - 1)] for i, k in enumerate(sizes)]
    runs = [f"{name}={write(name, {'drp_gsm8k': sampled(answers, words)})}"
            for name, answers, words in (("A", before, 1), ("B", after, 2))]
    c = report_of(runs, counter).comparisons[0]
    assert (c.worse, c.better, c.p) == (5, 0, 2 / 32)


def test_order_of_documents_does_not_matter(write: Writer, counter: TokenCounter) -> None:
    one = write("one", {"drp_gsm8k": sampled([[0], [10], [20]])})
    two = write("two", {"drp_gsm8k": sampled([[0], [10], [20]], 5)[::-1]})
    row = report_of([f"A={one}", f"A={two}"], counter).rows[0]
    assert row.accuracy == 1.0 and row.spread == 0.0


def test_seeds_are_no_difference_of_protocol(write: Writer, counter: TokenCounter) -> None:
    runs = [f"A={write(f'a{seed}', tasks, model_args=f'pretrained=x,seed={seed}')}"
            for seed, tasks in ((n, {"drp_gsm8k": sampled([[0], [10]], n)}) for n in (1, 2))]
    report = report_of([*runs, f"B={write('b', {'drp_gsm8k': sampled([[0], [10]])})}"], counter)
    assert not any(n.startswith("CAUTION") for t in report.tables for n in t.notes)


@pytest.mark.parametrize(("other", "said"), [
    ({"tasks": {"drp_aime24": [[0], [10]]}}, "are of different tasks"),
    ({"tasks": {"drp_gsm8k": [[0], [10], [20]]}}, "not the same problems"),
    ({"tasks": {"drp_gsm8k": [[0], [10]]}, "generation": {**GREEDY, "max_new_tokens": 9}},
     "another protocol")])
def test_runs_that_cannot_be_pooled(write: Writer, other: dict, said: str) -> None:
    one = write("one", {"drp_gsm8k": sampled([[0], [10]])})
    tasks = {name: sampled(answers) for name, answers in other.pop("tasks").items()}
    two = write("two", tasks, **other)
    with pytest.raises(UserError, match=said):
        read_runs([f"A={one}", f"A={two}"])


def test_the_same_folder_twice_is_no_second_run(write: Writer) -> None:
    one = write("one", {"drp_gsm8k": sampled([[0], [10]])})
    with pytest.raises(UserError, match="is given twice"):
        read_runs([f"A={one}", f"A={one}/../one"])


def test_the_same_completions_are_no_second_seed(write: Writer) -> None:
    """As greedy decoding of one model gives them, whatever the seed."""
    runs = [f"A={write(name, {'drp_gsm8k': sampled([[0], [10]])})}" for name in ("one", "two")]
    with pytest.raises(UserError, match="every completion is the same"):
        read_runs(runs)


def test_unnamed_runs_are_never_pooled(write: Writer) -> None:
    """lmms-eval gives adapters of one model the same folder name."""
    folders = [write(name, {"drp_gsm8k": sampled([[0]])}) for name in ("one", "two")]
    with pytest.raises(UserError, match="two runs are called 'some__model'"):
        read_runs(list(map(str, folders)))


def test_command_with_seeds(write: Writer, tmp_path: Path, counter: TokenCounter) -> None:
    runs = [f"{name}={write(f'{name}{i}', {'drp_gsm8k': sampled([[0], [10 + i], [20]])})}"
            for name in ("Base", "DRP") for i in (0, 1)]
    done = CliRunner().invoke(group, ["report", *runs, "-o", str(tmp_path / "o"), "--no-figures"],
                              catch_exceptions=False)
    assert done.exit_code == 0
    row = json.loads((tmp_path / "o" / "results.json").read_text())["rows"][0]
    assert (row["runs"], row["repeats"], row["pass_at"]) == (
        2, 2, []), "answers of two seeds are no samples of one model"
