"""What the report says in words, where its figures come from, and the formats of its tables."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from drp_plugin.report import Results, make_report, read_runs, score_run, write_report
from drp_plugin.report.browser import excerpts
from drp_plugin.report.layout import Cell, Column, Line, Table, csv_text, rendered
from drp_plugin.report.regrading import Scored
from drp_plugin.report.tables import p_text, turned
from drp_plugin.tokens import TokenCounter

from .conftest import Writer, completion, documents


def scored_of(runs: list[str], counter: TokenCounter, cutoff: int | None = 12_000) -> list[Scored]:
    return [score_run(run, counter, cutoff) for run in read_runs(runs)]


def report_of(runs: list[str], counter: TokenCounter, cutoff: int | None = 12_000) -> Results:
    return make_report(scored_of(runs, counter, cutoff), cutoff, "qwen")


# ---- the headline

def test_headline_says_how_sure_it_is(write: Writer, counter: TokenCounter) -> None:
    before = write("before", {"drp_gsm8k": documents(40, set(range(20)), 60, 20)})
    after = write("after", {"drp_gsm8k": documents(40, {0}, 20, 10)})
    (said,) = report_of([f"Base={before}", f"DRP={after}"], counter).headline
    assert said.startswith("DRP against Base: tokens -6")
    assert "on GSM8K (95 %: -" in said and "higher on GSM8K (+47.5 points, p < 0.001)" in said


def test_headline_of_no_difference_says_what_could_not_be_seen(
        write: Writer, counter: TokenCounter) -> None:
    runs = [f"{name}={write(name, {'drp_aime24': documents(30, wrong, 20)})}"
            for name, wrong in (("Base", {1, 2}), ("DRP", {2, 3}))]
    report = report_of(runs, counter)
    (said,) = report.headline
    least = f"{100 * report.comparisons[0].detectable:.1f}"
    assert f"not shown to differ on AIME24 (+0.0 points, p = 1; 30 problems cannot show less " \
           f"than {least} points)" in said
    notes = next(t.notes for t in report.tables if t.name == "comparisons")
    assert any(f"30 problems of AIME24 (OOD) no difference of less than {least} points" in note
               for note in notes)


def test_several_methods_are_held_to_holm_s_p(write: Writer, counter: TokenCounter) -> None:
    """p = 0.031 alone is none among four."""
    runs = [f"{name}={write(name, {'drp_gsm8k': documents(40, wrong, 20)})}"
            for name, wrong in (("Base", set()), ("A", set(range(6))), ("B", {1}), ("C", {2}),
                                ("D", {3}))]
    report = report_of(runs, counter)
    first = report.comparisons[0]
    assert (first.p, first.p_holm) == (0.03125, 0.125)
    assert "A against Base" in report.headline[1]
    assert "not shown to differ on GSM8K (-15.0 points, p = 0.12 after Holm's correction" \
        in report.headline[1]
    table = next(t for t in report.tables if t.name == "table1")
    assert not any(c.text.endswith("*") for line in table.lines for c in line.cells)


def test_several_methods_are_summed_up_first(write: Writer, counter: TokenCounter) -> None:
    runs = [f"{name}={write(name, {'drp_gsm8k': documents(40, wrong, *words)})}"
            for name, wrong, words in (
                ("Base", set(range(20)), (60, 20)), ("Longer", set(range(20)), (80, 20)),
                ("Worse", set(range(38)), (20, 10)), ("Better", {1}, (20, 10)),
                ("Shorter", set(range(20)), (20, 10)), ("Brief", set(range(19)), (20, 10)))]
    said = report_of(runs, counter).headline
    assert len(said) == 6
    assert said[0] == (
        "Against Base, shorter on every set, no change in accuracy shown: Shorter and Brief; "
        "shorter on every set, more accurate on some: Better; "
        "shorter on every set, less accurate on some: Worse; "
        "longer on some, no change in accuracy shown: Longer.")
    assert not report_of(runs[:3], counter).headline[0].startswith("Against")


def test_both_verdicts_where_the_cutoff_turns_one(write: Writer, counter: TokenCounter) -> None:
    """Six answers are lost to the cutoff alone."""
    rows = documents(30, set(), 20)
    for sample in rows[:6]:
        long = "<think>" + "a " * 900
        sample["filtered_resps"] = sample["filtered_resps"].replace("<think>", long)
    runs = [f"Base={write('base', {'drp_gsm8k': documents(30, set(), 20)})}",
            f"DRP={write('drp', {'drp_gsm8k': rows})}"]
    report = report_of(runs, counter, 500)
    assert report.headline[1] == ("The cutoff turns the verdict on DRP's accuracy on GSM8K: "
                                  "-20.0 points, p = 0.031 with it; +0.0 points, p = 1 without.")
    table = next(t for t in report.tables if t.name == "comparisons")
    assert "without cutoff p = 1" in table.lines[0].cells[6].small
    assert len(report_of(runs, counter, 12_000).headline) == 1


def test_a_verdict_is_that_of_the_corrected_p(write: Writer, counter: TokenCounter) -> None:
    """Of four methods none is shown to differ, with the cutoff or without: none is turned."""
    rows = documents(30, set(), 20)
    for sample in rows[:6]:
        long = "<think>" + "a " * 900
        sample["filtered_resps"] = sample["filtered_resps"].replace("<think>", long)
    runs = [f"{name}={write(name, {'drp_gsm8k': given})}" for name, given in (
        ("Base", documents(30, set(), 20)), ("A", rows), ("B", documents(30, {1}, 20)),
        ("C", documents(30, {2}, 20)), ("D", documents(30, {3}, 20)))]
    report = report_of(runs, counter, 500)
    assert report.comparisons[0].p < 0.05 < report.comparisons[0].p_holm
    assert not any("turns" in said for said in report.headline)


def test_a_verdict_that_changes_its_sign_is_turned(write: Writer, counter: TokenCounter) -> None:
    runs = [f"{name}={write(name, {'drp_gsm8k': documents(10, set(), 5)})}" for name in "AB"]
    (c, *_) = report_of(runs, counter).comparisons
    up, down, none = (c.model_copy(update={"p_holm": p, "accuracy_change": change})
                      for p, change in ((0.01, 0.2), (0.01, -0.2), (0.05, 0.2)))
    assert turned(up, down) and turned(up, none) and turned(none, down)
    assert not turned(up, up) and not turned(none, none.model_copy(update={"accuracy_change": -1}))


@pytest.mark.parametrize(("p", "said"), [
    (0.05, "p = 0.05"), (0.0496, "p = 0.0496"), (0.04996, "p = 0.04996"), (0.0504, "p = 0.0504"),
    (0.044, "p = 0.044"), (0.0009, "p < 0.001"), (1.0, "p = 1"), (0.125, "p = 0.12")])
def test_p_is_never_rounded_across_5_percent(p: float, said: str) -> None:
    assert p_text(p) == said


def test_less_and_more_accurate_are_both_told(write: Writer, counter: TokenCounter) -> None:
    """On one set worse, on the other better."""
    half, all_but_one = set(range(20)), set(range(1, 40))
    runs = []
    for name, one, two in (("Base", half, half), ("Mixed", set(), all_but_one),
                           ("Same", half, half), ("Equal", half, half)):
        folder = write(name, {"drp_gsm8k": documents(40, one, 20, 5),
                              "drp_math500": documents(40, two, 20, 5)})
        runs.append(f"{name}={folder}")
    said = report_of(runs, counter).headline[0]
    assert "less accurate on some, more accurate on some: Mixed" in said


def test_runs_of_several_students_are_not_said_to_share_nothing(
        write: Writer, counter: TokenCounter) -> None:
    runs = [f"{name}={write(name[0], {'drp_gsm8k': documents(4, {1}, 5)})}"
            for name in ("7B/A", "1B/B")]
    (said,) = report_of(runs, counter).headline
    assert said.startswith("Nothing is compared: no method has a problem in common with its base.")


def test_one_method_alone_is_told_as_such(write: Writer, counter: TokenCounter) -> None:
    (said,) = report_of([f"A={write('a', {'drp_gsm8k': documents(4, {1}, 5)})}"],
                        counter).headline
    assert said.startswith("Nothing is compared. A: 75.0% of 4 problems of GSM8K (95 %: 30.1%")


# ---- provenance

def test_provenance(write: Writer, counter: TokenCounter) -> None:
    folder = write("one", {"drp_gsm8k": documents(3, set(), 5)},
                   model_args="pretrained=org/Student-7B,lora=saves/drp seed 1")
    file = next(folder.rglob("*_results.json"))
    results = json.loads(file.read_text())
    results |= {"lmms_eval_version": "0.7.3", "date": "20260102_030405"}
    results["config"] |= {"gen_kwargs": {"temperature": 0.6}, "limit": 3.0,
                          "resolved_cli_args": {"seed": [7, 7, 7, 7], "tasks": "drp_gsm8k"}}
    file.write_text(json.dumps(results))
    (origin,) = read_runs([f"A={folder}"])[0].origin
    assert [origin[k] for k in ("model", "adapter", "seed", "date", "versions")] == [
        "org/Student-7B", "saves/drp seed 1", "7", "20260102_030405", "lmms-eval 0.7.3"]
    assert origin["command"] == (
        "lmms-eval --model drp_hf --model_args 'pretrained=org/Student-7B,lora=saves/drp seed 1' "
        "--tasks drp_gsm8k --gen_kwargs temperature=0.6 --limit 3 --seed 7")


# ---- completions to look at

def test_excerpts_show_the_question_and_where_two_answers_part(
        write: Writer, counter: TokenCounter) -> None:
    before, after = documents(3, set(), 300), documents(3, {1}, 300)
    shared = "<think>\n" + "so we add " * 300
    for rows, end in ((before, "ten"), (after, "eleven")):
        rows[1]["filtered_resps"] = f"{shared}and get {end}\n</think>\n\n" + (
            completion(10 if end == "ten" else 11, 0).partition("</think>")[2])
        rows[1]["drp"] = {"question": "How many apples?"}
    found = excerpts(scored_of([f"Base={write('a', {'drp_gsm8k': before})}",
                                f"DRP x={write('b', {'drp_gsm8k': after})}"], counter), 12_000)
    (one,) = (e for e in found if "lost" in e["title"])
    before_side, after_side = one["sides"]
    assert one["question"] == "How many apples?" and one["gold"] == "10"
    assert before_side["same"] == after_side["same"]
    assert before_side["same"].endswith("add and get ")
    assert "characters that are the same" in before_side["same"]
    assert before_side["own"].startswith("ten") and after_side["own"].startswith("eleven")
    assert "&a=Base&b=DRP%20x" in one["place"] and "doc=1%3A" in one["place"]


# ---- formats

X_1 = Column("x_1", "n = 3", parts={"": "accuracy", "low": "low"})
TABLE = Table("t", "A & B", (Column("Method"), X_1), (
    Line((Cell("50% → group"),), "section"),
    Line((Cell("=cmd()|<b>"), Cell("94.1%", "90 to 96", (0.941, 0.9)))),
    Line((Cell("+DRP"), Cell("15/30", numbers=(0.5,))), "paper"),
    Line((Cell("-x"), Cell("–", numbers=(None, float("inf")))))), ("a note",))


def test_csv_has_numbers_in_its_cells() -> None:
    rows = list(csv.reader(io.StringIO(csv_text(TABLE))))
    assert rows[0] == ["Method", "x_1", "x_1 low", "source"]
    assert rows[1] == ["'=cmd()|<b>", "0.941", "0.9", "ours 50% → group"]
    assert rows[2][:3] == ["+DRP", "0.5", ""], "the paper's names are no formulas of somebody's"
    assert rows[3][:3] == ["'-x", "", ""]


def test_every_number_of_a_report_is_one_in_csv(write: Writer, counter: TokenCounter) -> None:
    runs = [f"{name}={write(name, {'drp_gsm8k': documents(12, wrong, 20)})}"
            for name, wrong in (("Base", {1}), ("DRP", {2, 3}))]
    for table in report_of(runs, counter).tables:
        for record in csv.DictReader(io.StringIO(csv_text(table))):
            for key, value in record.items():
                if key not in ("Method", "Task", "Before → after", "source") and value:
                    float(value)


def test_latex() -> None:
    text = rendered(TABLE, "tex")
    assert text.splitlines()[1:5] == [
        r"\begin{tabular}{lr}", r"\toprule", r"Method & x\_1 {\scriptsize (n = 3)} \\",
        r"\midrule"]
    assert r"\multicolumn{2}{l}{\textit{50\% $\to$ group}} \\" in text
    assert r"94.1\% {\scriptsize (90 to 96)} \\" in text and r"\bottomrule" in text
    assert "% a note" in text
    evil = Line((Cell("\\input{/etc/passwd}$^~#"), Cell("")))
    hostile = rendered(TABLE._replace(lines=(evil,)), "tex")
    assert r"\textbackslash{}input\{/etc/passwd\}\$\textasciicircum{}\textasciitilde{}\#" in hostile
    small = rendered(TABLE._replace(lines=(Line((Cell("a|b"), Cell("1", "p < 0.001"))),)), "tex")
    assert "a$|$b" in small and "p $<$ 0.001" in small, "TeX's first fonts have other signs there"


def test_markdown_keeps_small_print() -> None:
    assert "| 94.1% (90 to 96) |" in rendered(TABLE, "md")


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_no_number_that_json_does_not_have(value: float, write: Writer, counter: TokenCounter,
                                           tmp_path: Path) -> None:
    scored = scored_of([f"{name}={write(name, {'drp_gsm8k': documents(1, set(), 5)})}"
                        for name in "AB"], counter)
    report = make_report(scored, 12_000, "qwen")
    bad: Any = report.comparisons[0].model_copy(update={"tokens_change_high": value})
    write_report(report._replace(comparisons=(bad,)), scored, tmp_path / "out", figures=False)
    text = (tmp_path / "out" / "results.json").read_text("utf-8")
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text)["comparisons"][0]["tokens_change_high"] is None
