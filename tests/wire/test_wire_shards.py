"""Runs over parts of an input, and what `drp merge` makes of them."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3

import pytest
from provider import Provider
from small_runs import rows_of, traces

SHARDS = 3


def pruned(drp, provider, data, run, *more):
    ran = drp("prune", *(data if isinstance(data, list) else [data]), "-o", run, "--teacher",
              "openai:rules", "--base-url", provider.url, "--decompose", "indexed", *more)
    assert ran.code == 0, ran.err
    return ran


def by_id(rows):
    return {row["id"]: row for row in rows}


@pytest.fixture
def shards(tmp_path, drp, rules):
    """A bad row and a wrong answer among them; the whole run, and its three shards."""
    data = traces(tmp_path / "t.jsonl", 12)
    lines = data.read_text().splitlines()
    lines[4] = "no row"
    lines[7] = json.dumps({**json.loads(lines[7]), "answer": "0"})
    data.write_text("\n".join([*lines, lines[0]]) + "\n")  # and one that stands there twice
    with Provider(rules) as provider:
        whole = tmp_path / "whole"
        pruned(drp, provider, data, whole)
        runs = [tmp_path / f"run{k}" for k in range(1, SHARDS + 1)]
        for k, run in enumerate(runs, 1):
            pruned(drp, provider, data, run, "--shard", f"{k}/{SHARDS}")
        yield data, whole, runs, provider


def test_shards_together_are_the_whole_run(tmp_path, drp, shards):
    data, whole, runs, provider = shards
    out = tmp_path / "merged"
    ran = drp("merge", *runs, "-o", out)
    assert ran.code == 0 and ran.out.strip() == str(out) and "note" not in ran.err, ran.err
    mine, wanted = rows_of(out), rows_of(whole)
    assert by_id(mine[0]) == by_id(wanted[0]) and by_id(mine[1]) == by_id(wanted[1])
    assert mine[2] == wanted[2]
    assert (out / "duplicates.jsonl").read_text() == ""
    asked = provider.received
    pruned(drp, provider, data, out)  # goes on there, without asking again, in the input's order
    assert provider.received == asked
    for file in ("pruned.jsonl", "rejects.jsonl", "summary.json"):
        assert (out / file).read_bytes() == (whole / file).read_bytes()


def test_a_merge_that_is_run_again_or_goes_on_changes_nothing(tmp_path, drp, shards):
    _, _, runs, _ = shards
    out = tmp_path / "merged"
    assert drp("merge", *runs[:2], "-o", out).code == 0
    assert "1 of 3 shards is not among them: 3/3" in drp("merge", *runs[:2], "-o", out).err
    first = drp("merge", *runs, "-o", out)
    files = {f.name: f.read_bytes() for f in out.glob("*.json*")}
    assert drp("merge", *runs, "-o", out).err == first.err
    assert files == {f.name: f.read_bytes() for f in out.glob("*.json*")}
    ran = drp("merge", runs[0], "-o", out)
    assert ran.code == 2 and "are not in this input" in ran.err  # it would lose the others' rows
    assert files == {f.name: f.read_bytes() for f in out.glob("*.json*")}


def test_rows_and_payments_that_stand_twice_are_named_and_kept(tmp_path, drp, shards):
    _, whole, runs, _ = shards
    out = tmp_path / "merged"
    ran = drp("merge", whole, runs[1], "-o", out)
    again = [json.loads(line) for line in (out / "duplicates.jsonl").read_text().splitlines()]
    mine = rows_of(runs[1])
    assert {row["row"]["id"] for row in again} == {row["id"] for row in mine[0] + mine[1]}
    assert f"{len(mine[0])} rows of pruned.jsonl stand in other runs too" in ran.err
    paid = rows_of(whole)[2]["paid"]["requests"] + mine[2]["paid"]["requests"]
    assert rows_of(out)[2]["paid"]["requests"] == paid
    with sqlite3.connect(out / "ledger.sqlite") as base:
        assert base.execute("SELECT COUNT(*) FROM replies").fetchone() == (paid,)


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda run: (run / "summary.json").unlink(), "holds no summary.json"),
    (lambda run: shutil.rmtree(run), "no such folder"),
    (lambda run: (run / "settings.json").write_text(json.dumps(
        {**json.loads((run / "settings.json").read_text()), "decompose": "skill"})),
     "decompose: indexed → skill"),
    (lambda run: (run / "ledger.sqlite").write_bytes(b"x" * 5000), "ledger.sqlite"),
    (lambda run: (run / "pruned.jsonl").write_text('{"id": 1}\n'), "pruned.jsonl"),
])
def test_what_cannot_be_merged_says_so_in_a_line(tmp_path, drp, shards, spoil, says):
    _, _, runs, _ = shards
    spoil(runs[2])
    ran = drp("merge", *runs, "-o", tmp_path / "merged")
    assert ran.code == 2 and says in ran.err and "Traceback" not in ran.err
    assert not (tmp_path / "merged" / "pruned.jsonl").exists()


def test_a_run_is_not_merged_into_itself_or_twice(tmp_path, drp, shards):
    _, _, runs, _ = shards
    assert "is both a run and -o" in drp("merge", *runs, "-o", runs[0]).err
    assert "is given twice" in drp("merge", *runs, runs[0], "-o", tmp_path / "merged").err


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_parts_that_are_none(tmp_path, drp, shard):
    ran = drp("prune", traces(tmp_path / "t.jsonl", 2), "-o", tmp_path / "run", "--teacher",
              "offline", "--shard", shard)
    assert ran.code == 2 and "is not a part of a run" in ran.err


def test_many_files_patterns_and_addresses_are_one_input(tmp_path, drp):
    fsspec = pytest.importorskip("fsspec")
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "parts"
    folder.mkdir()
    for k in range(3):
        traces(folder / f"part-{k}.jsonl", 2, start=2 * k)
    (folder / "part-3.jsonl.gz").write_bytes(gzip.compress(
        traces(tmp_path / "x", 2, start=6).read_bytes()))
    far = fsspec.filesystem("memory")
    for k in range(2):
        rows = [json.loads(x) for x in traces(tmp_path / "y", 2, start=8 + 2 * k).open()]
        with far.open(f"/shards/part-{k}.parquet", "wb") as file:
            parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"question": 1}\n')
    ran = drp("prune", folder / "part-*", "memory://shards/*.parquet", bad, "-o", tmp_path / "run",
              "--teacher", "offline")
    assert ran.code == 0, ran.err
    done, rejects, _ = rows_of(tmp_path / "run")
    assert [row["id"] for row in done] == [f"q{n}" for n in range(12)]
    assert [row["detail"].partition(":")[0] for row in rejects] == [f"{bad}, row 1"]


@pytest.mark.parametrize(("given", "says"), [
    ("nothing-*.jsonl", "no file has a name of this pattern"),
    ("memory://nowhere/*.jsonl", "no file has a name of this pattern"),
    ("memory://nowhere/a.jsonl", "no such file"),
    ("nowhere://a/b.jsonl", "cannot be read"),
    ("s3://me:secret@bucket/a.jsonl", "holds a key or a password"),
])
def test_inputs_that_are_not_there(tmp_path, drp, given, says):
    ran = drp("prune", given, "-o", tmp_path / "run", "--teacher", "offline")
    assert ran.code == 2 and says in ran.err and "Traceback" not in ran.err
    assert "secret" not in ran.err and not (tmp_path / "run" / "pruned.jsonl").exists()
