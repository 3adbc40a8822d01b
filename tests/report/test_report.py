"""Runs in, tables and figures out."""

from __future__ import annotations

import csv
import functools
import io
import json
from pathlib import Path
from statistics import stdev

import pytest
from click.testing import CliRunner

from drp_plugin.cli import group
from drp_plugin.errors import UserError, install
from drp_plugin.report import make_report, read_runs, score_run
from drp_plugin.report.layout import Table, rendered, shown
from drp_plugin.report.regrading import choose_counter, choose_cutoff
from drp_plugin.report.tables import paper_figures
from drp_plugin.statistics import mean_share
from drp_plugin.tokens import TokenCounter

from .conftest import GREEDY, Writer, documents


def made(runs: list[str], counter: TokenCounter, cutoff: int | None = 12_000, base: str = "",
         ablations: dict[int, tuple[str, ...]] | None = None):
    scored = [score_run(run, counter, cutoff) for run in read_runs(runs)]
    return make_report(scored, cutoff, counter.name, base or None, ablations)


def lines(table: Table, kind: str = "ours") -> list[tuple[str, ...]]:
    return [tuple(c.text for c in line.cells) for line in table.lines if line.kind == kind]


@pytest.fixture()
def two(write: Writer) -> list[str]:
    before = write("before", {"drp_gsm8k": documents(40, {1, 2, 3}, 60, 20),
                              "drp_aime24": documents(30, set(range(15)), 300, 40)})
    after = write("after", {"drp_gsm8k": documents(40, {2, 9}, 20, 10),
                            "drp_aime24": documents(30, set(range(16)), 150, 40)})
    return [f"Base={before}", f"DRP={after}"]


def test_rows_and_comparisons(two: list[str], counter: TokenCounter) -> None:
    report = made(two, counter)
    row = next(r for r in report.rows if (r.method, r.task, r.cutoff) == (
        "Base", "drp_gsm8k", 12_000))
    assert (row.n, row.correct, row.accuracy) == (40, 37, 0.925)
    texts = [d["filtered_resps"] for d in documents(40, {1, 2, 3}, 60, 20)]
    assert row.tokens == pytest.approx(sum(counter.counts(texts)) / 40)
    c = next(c for c in report.comparisons if (c.task, c.cutoff) == ("drp_gsm8k", 12_000))
    assert (c.both, c.only_before, c.only_after, c.neither) == (36, 1, 2, 1)
    assert c.mcnemar_p == 1.0
    assert c.tokens_change == pytest.approx(c.tokens_after / c.tokens_before - 1)
    assert c.tokens_change_low < c.tokens_change < c.tokens_change_high < -0.4
    assert {(r.method, r.task, r.cutoff) for r in report.rows} == {
        (m, t, k) for m in ("Base", "DRP") for t in ("drp_gsm8k", "drp_aime24")
        for k in (12_000, None)}


def test_table_1_layout(two: list[str], counter: TokenCounter) -> None:
    table = made(two, counter).tables[0]
    assert [c.name for c in table.columns] == [
        "Method", "GSM8K Pass@1", "GSM8K #Tokens", "AIME24 (OOD) Pass@1", "AIME24 (OOD) #Tokens"]
    assert [c.small for c in table.columns] == ["", "n = 40", "", "n = 30", ""]
    ours = lines(table)
    assert ours[0][1] == "92.5%" and ours[0][3] == "15/30"
    assert ours[1][3] == "14/30" and ours[1][2].endswith("%)") and "(-" in ours[1][2]
    first = next(line.cells for line in table.lines if line.kind == "ours")
    assert first[1].small == "80.1 to 97.4", "the interval stands in Table 1"
    assert first[1].numbers[:4] == pytest.approx((0.925, 0.8014, 0.9742, 40), abs=1e-4)
    # both students of the paper, since no group says which one this is
    paper = lines(table, "paper")
    assert len(paper) == 9
    assert ("+DRP", "94.1%", "328 (-64%)", "15/30", "4,966 (-43%)") in paper
    assert ("+DRP", "83.4%", "721 (-50%)", "10/30", "6,135 (-42%)") in paper


def test_the_group_chooses_the_papers_student(two: list[str], counter: TokenCounter) -> None:
    named = [f"R1-Distill-Qwen-1.5B/{run}" for run in two]
    table = made(named, counter).tables[0]
    sections = [cells[0] for cells in lines(table, "section")]
    assert sections == ["R1-Distill-Qwen-1.5B", "R1-Distill-Qwen-1.5B, the paper's numbers"]


def test_cutoff_and_table_5(write: Writer, counter: TokenCounter) -> None:
    rows = documents(6, set(), 50)
    rows[0]["filtered_resps"] = "<think>\n" + "Wait, once more. " * 900
    rows[1]["filtered_resps"] = rows[1]["filtered_resps"].replace(
        "<think>", "<think>" + "long way " * 700)
    folder = write("one", {"drp_math500": rows})
    report = made([f"Base={folder}"], counter, 1_000)
    cut, whole = (next(r for r in report.rows if r.cutoff == c) for c in (1_000, None))
    assert (cut.correct, whole.correct) == (4, 5)
    assert (cut.truncated, whole.truncated, cut.loops) == (2, 1, 1)
    assert cut.tokens < whole.tokens
    table = next(t for t in report.tables if t.name == "table5")
    assert [line.cells[0].text for line in table.lines[:2]] == [
        "Base (no cutoff)", "Base (1,000-token cutoff)"]


def test_the_paper_s_numbers_are_those_it_prints() -> None:
    """Changes that the paper prints stand as printed; where it prints none, there is none."""
    small, large = paper_figures("table1", []).values()
    assert [f["tokens_change"] for f in small["+DRP"].values()] == [-.50, -.35, -.42, -.44]
    assert [f["change"] for f in large["+DRP"].values()] == [
        " (-64%)", " (-28%)", " (-43%)", " (-33%)"]
    assert not any(f["change"] for table in ("table1", "table2", "table3", "table4", "table5")
                   for methods in paper_figures(table, []).values()
                   for method, tasks in methods.items()
                   for f in tasks.values() if (table, method) != ("table1", "+DRP"))
    assert (large["Base"]["drp_aime24"]["accuracy"], large["+DRP"]["drp_gsm8k"]["accuracy"]) == (
        0.5, 0.941)


def test_ablation_tables(write: Writer, counter: TokenCounter) -> None:
    """Methods stand in a table because somebody said so, whatever they are called."""
    runs = [f"{name}={write(name, {'drp_gsm8k': documents(5, set(), 10)})}"
            for name in ("Base", "Distilled Reasoning Pruning", "x", "Distill", "Gemini")]
    report = made(runs, counter, ablations={2: ("x", "Distilled Reasoning Pruning"),
                                            4: ("Distill", "Base")})
    tables = {t.name: t for t in report.tables}
    assert [cells[0] for cells in lines(tables["table2"])] == [
        "Base", "x", "Distilled Reasoning Pruning"]
    assert [cells[0] for cells in lines(tables["table4"])] == ["Base", "Distill"]
    assert "direct distillation" in tables["table4"].title
    assert any(cells[0] == "Default" for cells in lines(tables["table2"], "paper"))
    assert not {"table2", "table3", "table4"} & {t.name for t in made(runs, counter).tables}


def test_ablation_tables_of_several_students(write: Writer, counter: TokenCounter) -> None:
    runs = [f"{name}={write(name, {'drp_gsm8k': documents(5, set(), 10)})}"
            for name in ("A/Base", "A/DRP", "B/Base", "B/Default")]
    table = next(t for t in made(runs, counter, ablations={2: ("Default",)}).tables
                 if t.name == "table2")
    assert [line.cells[0].text for line in table.lines if line.kind != "paper"] == [
        "B", "Base", "Default", "R1-Distill-Qwen-7B, the paper's numbers"]


@pytest.mark.parametrize(("given", "said"), [
    ("5=DRP", "2=Default,DRP"), ("2", "2=Default,DRP"), ("2=", "2=Default,DRP"),
    ("2=nobody", "Base, DRP")])
def test_wrong_tables(two: list[str], tmp_path: Path, given: str, said: str) -> None:
    done = CliRunner().invoke(group, ["report", *two, "-o", str(tmp_path), "--table", given])
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)


def test_toy_runs_say_so_and_stand_beside_no_paper(write: Writer, counter: TokenCounter) -> None:
    folder = write("tiny", {"drp_tiny": documents(5, set(), 10)})
    report = made([f"Base={folder}"], counter)
    assert all(r.toy for r in report.rows)
    assert not any(line.kind == "paper" for line in report.tables[0].lines)
    assert any("toy" in note for note in report.tables[0].notes)


def test_different_protocols_are_said(write: Writer, counter: TokenCounter) -> None:
    one = write("one", {"drp_gsm8k": documents(5, set(), 10)})
    two = write("two", {"drp_gsm8k": documents(5, set(), 10)},
                generation={**GREEDY, "do_sample": True, "temperature": 0.6})
    report = made([f"A={one}", f"B={two}"], counter)
    for table in report.tables[:2]:
        assert any(note.startswith("CAUTION") for note in table.notes), table.title
    assert not report.comparisons[0].same_protocol
    assert len({r.protocol for r in report.rows}) == 2
    same = made([f"A={one}", f"B={write('three', {'drp_gsm8k': documents(5, set(), 9)})}"], counter)
    assert not any(n.startswith("CAUTION") for t in same.tables for n in t.notes)
    assert report.headline[-1].endswith(". Their protocols differ.")
    assert not any("protocols differ" in line for line in same.headline)


@pytest.mark.parametrize(("place", "value", "refused"), [
    (("n-samples", "drp_gsm8k", "effective"), "NaN", True),
    (("n-samples", "drp_gsm8k", "effective"), '"x"', True),
    (("n-samples", "drp_gsm8k", "original"), "null", True),
    (("n-samples", "drp_gsm8k", "original"), "1e400", True),
    (("config", "offset"), '"x"', True), (("config", "offset"), "Infinity", True),
    (("config", "offset"), '"0"', False),
    (("configs", "drp_gsm8k", "num_fewshot"), "NaN", False),
    (("configs", "drp_gsm8k", "repeats"), "1e999", False),
    (("configs", "drp_gsm8k", "generation_kwargs"), '{"max_new_tokens": Infinity}', False),
    (("configs", "drp_gsm8k", "generation_kwargs"), '{"temperature": NaN}', False)])
def test_a_results_file_with_odd_numbers(write: Writer, counter: TokenCounter,
                                         place: tuple[str, ...], value: str, refused: bool) -> None:
    folder = write("one", {"drp_gsm8k": documents(5, set(), 10)})
    (file,) = folder.rglob("*_results.json")
    results = json.loads(file.read_text())
    *parents, name = place
    functools.reduce(dict.__getitem__, parents, results)[name] = "HERE"
    file.write_text(json.dumps(results).replace('"HERE"', value))
    if refused:
        with pytest.raises(UserError, match="is not a complete results file"):
            made([f"A={folder}"], counter)
    else:
        assert made([f"A={folder}"], counter).rows[0].n == 5


def test_variants_stand_in_their_sets_column(write: Writer, counter: TokenCounter) -> None:
    folder = write("one", {"drp_gsm8k": documents(5, set(), 10),
                           "drp_gsm8k_tale": documents(5, {1}, 5)})
    report = made([f"Base={folder}"], counter)
    assert {(r.method, r.task, r.variant) for r in report.rows} == {
        ("Base", "drp_gsm8k", "drp_gsm8k"), ("Base [tale]", "drp_gsm8k", "drp_gsm8k_tale")}
    assert {(c.before, c.after) for c in report.comparisons} == {("Base", "Base [tale]")}


@pytest.mark.parametrize("kind", ["answer", "nothinking", "sampled", "tale", "thinkprune"])
def test_every_variant_is_compared_with_its_set(write: Writer, counter: TokenCounter,
                                                kind: str) -> None:
    folders = [write(task, {task: documents(5, set(), words)})
               for task, words in (("drp_gsm8k", 10), (f"drp_gsm8k_{kind}", 5))]
    report = made([f"Base={folders[0]}", f"Other={folders[1]}"], counter)
    assert {(c.after, c.task) for c in report.comparisons} == {("Other", "drp_gsm8k")}


def test_the_offset_is_told_and_its_documents_are_whole(write: Writer) -> None:
    """lmms-eval counts 40 documents of 40 where --offset 35 leaves 5."""
    for name, limit, end in (("all", 40, 40), ("some", 3, 38)):
        rows = [{**row, "doc_id": row["doc_id"] + 35} for row in documents(end - 35, set(), 5)]
        folder = write(name, {"drp_gsm8k": rows}, original={"drp_gsm8k": 40})
        file = next(folder.rglob("*_results.json"))
        results = json.loads(file.read_text())
        results["config"]["offset"] = 35
        results["n-samples"]["drp_gsm8k"]["effective"] = limit
        file.write_text(json.dumps(results))
        (run,) = read_runs([f"A={folder}"])
        assert f"problems 36 to {end} only" in run.protocol.text
        results["config"]["offset"] = 34 if limit == 40 else 36
        file.write_text(json.dumps(results))
        if limit == 40:
            with pytest.raises(UserError, match="holds 5 of 6 documents"):
                read_runs([f"A={folder}"])


def test_figures_are_means_over_problems(write: Writer, counter: TokenCounter) -> None:
    """Three samples of one problem weigh no more than one of another, in every table."""
    rows = [{**row, "filtered_resps": [row["filtered_resps"]] * (3 if row["doc_id"] else 1)}
            for row in documents(2, set(), 10)]
    rows[0]["filtered_resps"] = documents(1, set(), 200)[0]["filtered_resps"]
    base = write("base", {"drp_gsm8k": rows})
    other = write("other", {"drp_gsm8k": documents(2, set(), 20)})
    report = made([f"Base={base}", f"Other={other}"], counter)
    (c, *_) = report.comparisons
    assert report.rows[0].tokens == pytest.approx(c.tokens_before)
    lengths = [counter.count(text) for row in rows for text in (
        row["filtered_resps"] if row["doc_id"] else [row["filtered_resps"]])]
    assert report.rows[0].tokens == pytest.approx((lengths[0] + lengths[1]) / 2)


def test_methods_without_a_common_problem_are_named(write: Writer, counter: TokenCounter) -> None:
    near = write("near", {"drp_gsm8k": documents(5, {1}, 10)})
    far = write("far", {"drp_gsm8k": [{**row, "doc_id": row["doc_id"] + 50}
                                      for row in documents(5, set(), 20)]})
    base = write("base", {"drp_gsm8k": documents(5, set(), 20)})
    report = made([f"Base={base}", f"Near={near}", f"Far={far}"], counter)
    (caution,) = [note for note in report.tables[0].notes if note.startswith("CAUTION")]
    assert "Far has no problem of GSM8K that the first method has" in caution
    report = made([f"Base={base}", f"Far={far}"], counter)
    assert report.headline[0].startswith(
        "Nothing is compared: no method has a problem in common with its base. Base:")


def recorded(rows: list[dict], **protocol) -> list[dict]:
    """Samples as our own tasks write them."""
    told = {"questions": "gsm8k_test", "prompt": "eval_boxed", "cutoff": 768, "tokenizer": "qwen",
            "temperature": 0.0, "max_new_tokens": 1000, "repeats": 1, "thinking": True, **protocol}
    return [{**row, "drp": {"id": f"q{row['doc_id']}", "answer": row["target"], "dataset": "gsm8k",
                            "protocol": told, "completions": [{"finish": "stop",
                                                               "backend_tokens": 7}]}}
            for row in rows]


def test_settings_come_from_the_runs(write: Writer, counter: TokenCounter) -> None:
    one = write("one", {"drp_gsm8k": recorded(documents(3, set(), 10))})
    runs = read_runs([f"A={one}"])
    assert choose_cutoff(runs, None) == 768
    assert choose_cutoff(runs, 100) == 100
    assert choose_cutoff(runs, 0) is None
    assert choose_counter(runs, None).same_as(counter)
    two = write("two", {"drp_gsm8k": recorded(documents(3, set(), 10), cutoff=999)})
    with pytest.raises(UserError, match="different cutoffs"):
        choose_cutoff(read_runs([f"A={one}", f"B={two}"]), None)


def test_runs_stopped_early_claim_nothing_without_cutoff(
        write: Writer, counter: TokenCounter) -> None:
    one = write("one", {"drp_gsm8k": recorded(documents(3, set(), 10), stop_at_cutoff=True)})
    runs = read_runs([f"A={one}"])
    with pytest.raises(UserError, match="stop_at_cutoff"):
        choose_cutoff(runs, 0)
    report = made([f"A={one}"], counter, 768)
    assert {r.cutoff for r in report.rows} == {768}
    assert "table5" not in {t.name for t in report.tables}
    assert "stopped early" in report.rows[0].protocol
    assert report.rows[0].backend_tokens_differ == 3


def test_repeats_are_averaged(write: Writer, counter: TokenCounter) -> None:
    rows = documents(2, set(), 10)
    for row in rows:
        right = row["filtered_resps"]
        row["filtered_resps"] = [right, right.replace("boxed{", "boxed{9"), right, right]
    report = made([f"A={write('one', {'drp_gsm8k': rows})}"], counter)
    assert (report.rows[0].n, report.rows[0].repeats, report.rows[0].accuracy) == (2, 4, 0.75)


def several(rows: list[dict], wrong: int) -> list[dict]:
    """Three samples for each row, of which the last `wrong` ones are wrong."""
    made = []
    for row in rows:
        right = row["filtered_resps"]
        texts = [right] * (3 - wrong) + [right.replace("boxed{", "boxed{9")] * wrong
        made.append({**row, "filtered_resps": texts})
    return made


def test_several_samples_have_their_own_interval(write: Writer, counter: TokenCounter) -> None:
    """8 problems, 20 of 24 samples right: 6.667 of 8, and no rounding to 7."""
    rows = documents(8, set(), 10)
    folder = write("one", {"drp_gsm8k": several(rows[:4], 0) + several(rows[4:], 1)})
    row = made([f"A={folder}"], counter).rows[0]
    assert (row.n, row.repeats, row.runs, row.correct) == (8, 3, 1, pytest.approx(20 / 3))
    assert (row.accuracy, row.accuracy_low, row.accuracy_high) == mean_share(
        [1.0] * 4 + [2 / 3] * 4, 3)
    assert row.accuracy_se == pytest.approx(stdev([1.0] * 4 + [2 / 3] * 4) / 8 ** 0.5)
    # of the three samples the first of every problem is right, and the last of four is not
    assert row.spread == pytest.approx(stdev([1.0, 1.0, 0.5]))
    assert row.pass_at == pytest.approx((5 / 6, 1.0, 1.0))
    assert row.majority == 1.0


def test_problems_with_several_samples_are_compared_by_their_shares(
        write: Writer, counter: TokenCounter) -> None:
    """5 problems, of 3 samples each all right before and one right after."""
    runs = [f"{name}={write(name, {'drp_gsm8k': several(documents(5, set(), 10), wrong)})}"
            for name, wrong in (("A", 0), ("B", 2))]
    report = made(runs, counter)
    c = report.comparisons[0]
    assert (c.only_before, c.mcnemar_p, c.accuracy_after) == (0, None, pytest.approx(1 / 3))
    assert (c.worse, c.better, c.p) == (5, 0, 2 / 2 ** 5), "all five the same way, of 32 patterns"
    notes = {t.name: t.notes for t in report.tables}
    assert any("sign-flip" in note for note in notes["comparisons"])
    assert any("n is the number of problems" in note for note in notes["details"])
    single = made([f"A={write('C', {'drp_gsm8k': documents(5, set(), 10)})}",
                   f"B={write('D', {'drp_gsm8k': documents(5, set(), 9)})}"], counter)
    assert single.comparisons[0].p == single.comparisons[0].mcnemar_p == 1.0
    assert "samples" not in {t.name for t in single.tables}


@pytest.mark.parametrize("name", ["DRP", "Default"])
def test_a_change_over_other_problems_does_not_stand_in_the_table(
        write: Writer, counter: TokenCounter, name: str) -> None:
    """40 problems against 12 of them; in Table 1 and, for `Default`, in Table 2 too."""
    base = write("base", {"drp_gsm8k": documents(40, set(), 60, 20)})
    few = write("few", {"drp_gsm8k": documents(12, set(), 30, 5)})
    report = made([f"Base={base}", f"{name}={few}"], counter,
                  ablations={2: (name,)} if name == "Default" else {})
    tables = [t for t in report.tables if t.name in ("table1", "table2")]
    assert len(tables) == (2 if name == "Default" else 1)
    for table in tables:
        ours = {cells[0]: cells for cells in lines(table)}
        assert "%" not in ours[name][2]
        (caution,) = [note for note in table.notes if note.startswith("CAUTION")]
        assert f"Base has 40 problems of GSM8K, {name} 12, and 12 are the same" in caution
    assert report.comparisons[0].n == 12


# ---- incomplete runs are refused, and what is missing is said

def test_no_results_file(write: Writer) -> None:
    folder = write("one", {"drp_gsm8k": documents(3, set(), 5)})
    next(folder.rglob("*_results.json")).unlink()
    with pytest.raises(UserError, match=r"has no 20260101_000000_results\.json"):
        read_runs([f"A={folder}"])


def test_samples_missing_or_short(write: Writer) -> None:
    folder = write("one", {task: documents(5, set(), 5) for task in ("drp_gsm8k", "drp_aime24")})
    samples = next(folder.rglob("*samples_drp_gsm8k.jsonl"))
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:3]))
    next(folder.rglob("*samples_drp_aime24.jsonl")).unlink()
    with pytest.raises(UserError) as raised:
        read_runs([f"A={folder}"])
    assert "holds 3 of 5 documents" in str(raised.value)
    assert "samples_drp_aime24.jsonl is missing" in str(raised.value)


@pytest.mark.parametrize(("change", "said"), [
    (lambda text: text + text.splitlines(keepends=True)[0], "twice"),
    (lambda text: text.replace("so we add", "[LMMS_EVAL_REQUEST_FAILED]", 1), "1 request failed"),
    (lambda text: text[:-9], "row 3 is not JSON"), (lambda text: "", "holds no samples"),
    (lambda text: text.replace('"target": "10"', '"target": null'),
     "1 document has no gold answer"),
])
def test_damaged_samples(write: Writer, change, said: str) -> None:
    folder = write("one", {"drp_gsm8k": documents(3, set(), 5)})
    file = next(folder.rglob("*samples*"))
    file.write_text(change(file.read_text()))
    with pytest.raises(UserError, match=said):
        read_runs([f"A={folder}"])


@pytest.mark.parametrize(("entry", "said"), [
    ({"completions": [7]}, "field 'completions.0'"), ({"protocol": [1]}, "field 'protocol'"),
    ({"completions": [{"finish": 5}]}, "field 'completions.0.finish'")])
def test_damaged_records_name_file_and_row(write: Writer, entry: dict, said: str) -> None:
    rows = documents(3, set(), 5)
    rows[1]["drp"] = entry
    folder = write("one", {"drp_gsm8k": rows})
    with pytest.raises(UserError, match=rf"samples_drp_gsm8k\.jsonl: row 2: .*{said}"):
        read_runs([f"A={folder}"])


@pytest.mark.parametrize(("one", "two"), [
    ("pretrained=/a/student/model", "pretrained=/b/student/model"),
    ("pretrained=x", "pretrained=x,lora=adapter"), ("pretrained=x", "pretrained=x,peft=adapter"),
    ("pretrained=x,lora=a", "pretrained=x,lora=b")])
def test_models_are_not_merged_into_one_method(write: Writer, one: str, two: str) -> None:
    """lmms-eval gives both the same folder."""
    write("out", {"drp_gsm8k": documents(3, set(), 5)}, date="20260101_000000", model_args=one)
    folder = write("out", {"drp_aime24": documents(3, set(), 5)}, date="20260202_000000",
                   model_args=two)
    with pytest.raises(UserError) as raised:
        read_runs([f"A={folder}"])
    assert f"20260101_000000_results.json has {one};" in str(raised.value)
    assert f"20260202_000000_results.json has {two}." in str(raised.value)
    assert "its own --output_path" in str(raised.value)


def test_one_model_on_two_dates_is_one_method(write: Writer) -> None:
    write("out", {"drp_gsm8k": documents(3, set(), 5)}, date="20260101_000000",
          model_args="pretrained=x,batch_size=4")
    folder = write("out", {"drp_aime24": documents(3, set(), 5)}, date="20260202_000000",
                   model_args="model=x/,lora=None,max_new_tokens=5")
    assert {(run.name, run.task) for run in read_runs([f"A={folder}"])} == {
        ("A", "drp_gsm8k"), ("A", "drp_aime24")}


def test_wrong_folders(tmp_path: Path, write: Writer) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_runs([str(tmp_path / "nothing")])
    with pytest.raises(UserError, match="holds neither"):
        read_runs([f"A={tmp_path}"])
    folder = write("one", {"drp_gsm8k": documents(3, set(), 5)})
    write("one", {"drp_gsm8k": documents(3, set(), 5)}, model="other")
    with pytest.raises(UserError, match="holds 2 models"):
        read_runs([f"A={folder}"])
    assert [run.name for run in read_runs([str(folder)])] == ["other", "some__model"]
    again = write("two", {"drp_gsm8k": documents(3, set(), 5)}, model="other")
    for several in ([str(folder), str(again)], [str(tmp_path)]):
        with pytest.raises(UserError, match="two runs are called 'other'"):
            read_runs(several)


def test_the_latest_date_of_a_task_counts(write: Writer) -> None:
    write("one", {"drp_gsm8k": documents(3, set(), 5)}, date="20260101_000000")
    folder = write("one", {"drp_gsm8k": documents(4, set(), 5)}, date="20260202_000000")
    assert len(read_runs([f"A={folder}"])[0].samples) == 4


# ---- the command and its files

def test_command(two: list[str], tmp_path: Path, counter: TokenCounter) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(group, ["report", *two, "-o", str(out), "--no-figures"],
                              catch_exceptions=False)
    assert done.exit_code == 0
    assert "Base → DRP" in done.stdout
    results = json.loads((out / "results.json").read_text())
    assert set(results) == {"rows", "comparisons"}
    for field in ("method", "task", "n", "correct", "accuracy", "tokens", "think_tokens",
                  "truncated", "no_answer", "cutoff", "protocol"):
        assert field in results["rows"][0]
    table = list(csv.DictReader(io.StringIO((out / "table1.csv").read_text())))
    assert [r["Method"] for r in table if r["source"].startswith("ours")] == ["Base", "DRP"]
    assert "the paper's numbers" in (out / "report.md").read_text()
    again = tmp_path / "again"
    CliRunner().invoke(group, ["report", *two, "-o", str(again), "--no-figures"])
    assert (again / "report.html").read_bytes() == (out / "report.html").read_bytes()


def test_without_matplotlib_the_tables_still_come(two: list[str], tmp_path: Path, monkeypatch,
                                                  counter: TokenCounter) -> None:
    import sys

    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    done = CliRunner().invoke(group, ["report", *two, "-o", str(tmp_path / "o")],
                              catch_exceptions=False)
    assert done.exit_code == 0
    assert (tmp_path / "o" / "table1.csv").is_file()
    assert not list((tmp_path / "o").glob("*.png"))
    assert "matplotlib is not installed" in (tmp_path / "o" / "report.html").read_text()
    assert install("report") in " ".join(done.stderr.split())
    assert "pip install" not in (tmp_path / "o" / "report.html").read_text(), "others read it too"


def test_the_output_is_looked_at_first(two: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(group, ["report", *two, "-o", str(tmp_path / "file" / "out")])
    assert isinstance(done.exception, UserError) and "is a file" in str(done.exception)


def test_unknown_base(two: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(group, ["report", *two, "-o", str(tmp_path), "--base", "nobody"])
    assert isinstance(done.exception, UserError) and "Base, DRP" in str(done.exception)


def test_markdown_and_csv_are_inert(write: Writer, counter: TokenCounter) -> None:
    folder = write("one", {"drp_gsm8k": documents(3, set(), 5)})
    report = made([f"<b>|x={folder}"], counter)
    text = rendered(report.tables[0], "md")
    assert "<b>" not in text and "\\|x" in text


def test_unseen_characters_are_shown() -> None:
    assert shown("a\u202eb\x00c") == "a⟨U+202E⟩b⟨U+0000⟩c"
    assert shown("x" * 100_000).count("x") == 4_000
    assert "[…96,000 characters…]" in shown("x" * 100_000)
    assert shown("line\nline\ttab") == "line\nline\ttab"
