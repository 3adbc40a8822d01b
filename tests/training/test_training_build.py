"""`drp build`: what goes in, what is left out and why, and that others' entries are safe."""

from __future__ import annotations

import json
import multiprocessing
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import tiny_models as tiny
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from drp_plugin.cli.sets import build as command
from drp_plugin.errors import UserError
from drp_plugin.thinking import Unfit, shaped
from drp_plugin.training.mixing import parse_ratio, quotas
from drp_plugin.training.sft_set import SetSettings, build
from drp_plugin.training.sources import Why


def reasons(built) -> dict[str, int]:
    counts: dict[str, int] = {}
    for dropped in built.dropped:
        counts[dropped.reason.value] = counts.get(dropped.reason.value, 0) + 1
    return counts


def load(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_row_is_in_the_set_or_dropped_with_its_reason(write_rows, tmp_path):
    rows = tiny.rows(12)
    rows[1]["response"] = "<think>\nnever ends"
    rows[2]["response"] = "<think>\na\n</think>\n\n"
    rows[3]["response"] = "<think>\n</think>\n\nThe answer is 1."
    rows[4]["response"] = "<think>\na <think> b\n</think>\n\nThe answer is 1."
    rows[5]["response"] = f"<think>\na {tiny.EOS} b\n</think>\n\nThe answer is 1."
    rows[6]["question"] = ""
    rows[7] = rows[0]
    del rows[8]["response"]
    run = write_rows(rows)
    with open(run / "pruned.jsonl", "a") as file:
        file.write("{not json\n")
    built = build([run], tmp_path / "d", SetSettings(name="x"))
    assert built.rows == 4
    assert reasons(built) == {
        "no_think_end": 1, "empty_answer": 1, "empty_thinking": 1, "think_twice": 1,
        "control_token": 1, "bad_row": 2, "duplicate": 1, "not_json": 1}
    assert built.rows + len(built.dropped) == 13
    listed = [json.loads(x) for x in (tmp_path / "d" / "x.dropped.jsonl").read_text().splitlines()]
    assert [x["row"] for x in listed if x["reason"] == "no_think_end"] == [2]


def test_decisions_by_hand_are_taken_up(write_rows, tmp_path):
    rows = [{**row, "coverage": 1.0, "steps": [], "revisions": [], "verdict": {}, "usage": {}}
            for row in tiny.rows(4)]
    run = write_rows(rows)
    (run / "edits.jsonl").write_text("".join(json.dumps(edit) + "\n" for edit in (
        {"id": rows[0]["id"], "action": "reject"},
        {"id": rows[1]["id"], "action": "edit",
         "response": "<think>\nShorter.\n</think>\n\nThe answer is 5."})))
    built = build([run], tmp_path / "d", SetSettings(name="x"))
    assert (built.rows, reasons(built)) == (3, {"rejected_by_hand": 1})
    said = [turn["value"] for row in load(tmp_path / "d" / "x.json")
            for turn in row["conversations"]]
    assert "<think>\nShorter.\n</think>\n\nThe answer is 5." in said
    assert not any(rows[i]["response"] in said for i in (0, 1))


def test_the_set_is_sharegpt_in_the_exact_shape(write_rows, tmp_path):
    rows = tiny.rows(3)
    rows[0]["response"] = "  Two steps. \n\n</think>The answer is 2.\n"  # prefilled <think>
    built = build([write_rows(rows)], tmp_path / "d", SetSettings(name="x"))
    texts = {row["conversations"][0]["value"]: row["conversations"][1]["value"]
             for row in load(built.file)}
    assert texts[rows[0]["question"]] == "<think>\nTwo steps.\n</think>\n\nThe answer is 2."
    assert texts[rows[1]["question"]] == rows[1]["response"]
    assert [t["from"] for t in load(built.file)[0]["conversations"]] == ["human", "gpt"]
    entry = load(tmp_path / "d" / "dataset_info.json")["x"]
    assert entry["file_name"] == "x.json" and entry["formatting"] == "sharegpt"


def test_same_seed_same_bytes_whatever_the_order_of_rows(write_rows, tmp_path):
    rows = tiny.rows(30)
    rows += [{**row, "prompt": "eval_boxed"} for row in rows]  # the same but for what is asked
    runs = [write_rows(rows, "a"), write_rows(rows[::-1], "b")]
    first, second, other = (
        build([run], tmp_path / f"d{i}",
              SetSettings(name="x", seed=seed, size=50)).file.read_bytes()
        for i, (run, seed) in enumerate([(runs[0], 1), (runs[1], 1), (runs[0], 2)]))
    assert first == second
    assert first != other


def test_neither_lines_nor_the_order_of_sources_decide(write_rows, tmp_path):
    """Rows without ids, and the same rows under two ids and in two data sets."""
    rows = tiny.rows(12)
    for row in rows:
        row.pop("id", None)
    again = [{**row, "id": f"other{i}", "dataset": "other"} for i, row in enumerate(rows)]
    one, two = write_rows(rows, "one"), write_rows(again, "two")
    straight = build([one, two], tmp_path / "d1", SetSettings(name="x", size=8))
    write_rows(rows[::-1], "one")
    turned = build([two, one], tmp_path / "d2", SetSettings(name="x", size=8))
    assert straight.file.read_bytes() == turned.file.read_bytes()
    assert straight.card["sources"] == turned.card["sources"]


def test_size_and_ratio(write_rows, tmp_path):
    rows = tiny.rows(60)
    for i, row in enumerate(rows):
        row["dataset"] = "gsm8k_train" if i < 20 else "prm12k_train"
    run = write_rows(rows)
    built = build([run], tmp_path / "d", SetSettings(name="x", size=24,
                                                  ratio=parse_ratio("gsm8k=1,prm12k=2")))
    assert built.card["sources"] == {"prm12k_train": 16, "gsm8k_train": 8}
    assert reasons(built) == {Why.NOT_SAMPLED.value: 36}
    # the ratio holds also where the rows do not suffice
    short = build([run], tmp_path / "d", SetSettings(name="y", size=60,
                                                  ratio=parse_ratio("gsm8k=1,prm12k=1")))
    assert short.card["sources"] == {"gsm8k_train": 20, "prm12k_train": 20}


def test_the_mix_is_shuffled_as_a_whole(write_rows, tmp_path):
    first, second = tiny.rows(100), tiny.rows(100)
    for i, row in enumerate(second):
        row.update(id=f"b/{i}", dataset="second", question="Again: " + row["question"])
    for row in first:
        row["dataset"] = "first"
    built = build([write_rows(first, "a"), write_rows(second, "b")], tmp_path / "d",
                  SetSettings(name="x"))
    half = [row["conversations"][0]["value"] for row in load(built.file)[:100]]
    assert 30 < sum(text.startswith("Again") for text in half) < 70


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1),
       st.lists(st.integers(0, 50), min_size=4, max_size=4), st.integers(1, 120))
def test_quotas_never_exceed_what_is_there_and_keep_the_ratio(weights, counts, size):
    available = dict(zip("abcd", counts, strict=True))
    taken = quotas(weights, {n: available[n] for n in weights}, size)
    total = sum(taken.values())
    assert total <= size and all(0 <= taken[n] <= available[n] for n in weights)
    for name, weight in weights.items():
        assert abs(taken[name] - total * weight / sum(weights.values())) <= 1
    # and they are not needlessly small
    most = min(available[n] * sum(weights.values()) / w for n, w in weights.items())
    assert total >= min(size, int(most)) - 1e-9


@pytest.mark.parametrize("text", ["gsm8k", "gsm8k=", "gsm8k=0", "=3", "a=1,a=2", "a=-1", "a=nan"])
def test_a_ratio_that_cannot_be_read(text):
    with pytest.raises(UserError, match="ratio"):
        parse_ratio(text)


def test_a_ratio_that_fits_no_source(write_rows, tmp_path):
    for ratio in ("nope=1", "toy_a=1"):
        with pytest.raises(UserError, match="toy_a, toy_b"):
            build([write_rows(tiny.rows(4))], tmp_path / "d",
                  SetSettings(name="x", ratio=parse_ratio(ratio)))


@given(st.text(), st.text())
def test_shaped_is_idempotent_or_refuses(thinking, answer):
    try:
        once = shaped(f"<think>{thinking}</think>{answer}")
    except Unfit:
        return
    assert shaped(once) == once
    assert once.startswith("<think>\n") and once.count("</think>") == 1


def test_rows_over_the_cutoff_by_the_students_tokenizer(write_rows, tmp_path, byte_model):
    rows, count = tiny.rows(20), {"tokenizer": str(byte_model)}
    run = write_rows(rows)
    all_rows = build([run], tmp_path / "d", SetSettings(name="x", cutoff_len=10_000), **count)
    tokens = sorted(json.loads(line)["tokens"] for line in (
        tmp_path / "d" / "x.provenance.jsonl").read_text().splitlines())
    assert all_rows.card["over_cutoff"] == 0
    cutoff = tokens[9]
    kept = sum(t <= cutoff for t in tokens)
    built = build([run], tmp_path / "d", SetSettings(name="x", cutoff_len=cutoff), **count,
                  replace_set=True)
    assert built.rows == kept and reasons(built) == {"over_cutoff": 20 - kept}
    loose = build([run], tmp_path / "d", SetSettings(name="x", cutoff_len=cutoff,
                                                  keep_over_cutoff=True), **count,
                  replace_set=True)
    assert loose.rows == 20 and loose.card["over_cutoff"] == 20 - kept


def test_provenance_stands_beside_the_set_in_its_order(write_rows, tmp_path):
    rows = tiny.rows(10)
    built = build([write_rows(rows)], tmp_path / "d", SetSettings(name="x"))
    lines = [json.loads(x) for x in (
        tmp_path / "d" / "x.provenance.jsonl").read_text().splitlines()]
    by_id = {row["id"]: row for row in rows}
    for number, (line, row) in enumerate(zip(lines, load(built.file), strict=True)):
        assert line["row"] == number
        assert by_id[line["id"]]["question"] == row["conversations"][0]["value"]
        assert line["teacher"] == "offline" and line["prompts_hash"] == "abc123abc123"
    assert "offline" not in built.file.read_text()


def test_the_card_says_where_the_set_comes_from(write_rows, tmp_path):
    built = build([write_rows(tiny.rows(10))], tmp_path / "d", SetSettings(name="x"))
    text = (tmp_path / "d" / "x.md").read_text()
    for part in ("10 rows", "offline: 10", "abc123abc123: 10", "toy-student: 10", "toy_a: 5",
                 "seed 42", "Licence"):
        assert part in text, part
    assert built.card["response_tokens_before"]["mean"] == 40


def test_others_entries_survive(write_rows, tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    others = {"alpaca_zh": {"hf_hub_url": "x/ü", "columns": {"prompt": "p"}, "odd": [1, None]},
              "b": {"script_url": "b.py"}}
    (folder / "dataset_info.json").write_text(json.dumps(others, ensure_ascii=False))
    run = write_rows(tiny.rows(4))
    build([run], folder, SetSettings(name="x"))
    build([run], folder, SetSettings(name="y"))
    info = load(folder / "dataset_info.json")
    assert list(info) == ["alpaca_zh", "b", "x", "y"]
    assert {k: info[k] for k in others} == others
    # what a user added to our entry stays as well
    info["x"]["num_samples"] = 3
    (folder / "dataset_info.json").write_text(json.dumps(info))
    build([run], folder, SetSettings(name="x", seed=7), replace_set=True)
    assert load(folder / "dataset_info.json")["x"]["num_samples"] == 3


def test_a_name_or_file_of_others_is_never_overwritten(write_rows, tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    run = write_rows(tiny.rows(4))
    info = folder / "dataset_info.json"
    info.write_text('{"x": {"hf_hub_url": "a/b"}}')
    with pytest.raises(UserError, match="registered for something else"):
        build([run], folder, SetSettings(name="x"))
    (folder / "z.json").write_text("[]")
    with pytest.raises(UserError, match="not written by"):
        build([run], folder, SetSettings(name="z"))
    assert (folder / "z.json").read_text() == "[]"
    info.write_text("{broken")
    with pytest.raises(UserError, match="not JSON"):
        build([run], folder, SetSettings(name="y"))
    assert info.read_text() == "{broken"


def _build_one(run: Path, folder: Path, name: str) -> None:
    build([run], folder, SetSettings(name=name))


def test_builds_at_the_same_time_all_register(write_rows, tmp_path):
    run = write_rows(tiny.rows(4))
    folder = tmp_path / "d"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_build_one, args=(run, folder, f"set{i}"))
               for i in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0] * 12
    assert set(load(folder / "dataset_info.json")) == {f"set{i}" for i in range(12)}


def test_pairs_for_preference_training(write_rows, tmp_path):
    rows = tiny.rows(4)
    rows[1]["original"] = rows[1]["response"]
    rows[2]["original"] = "<think>\nnever ends"
    built = build([write_rows(rows)], tmp_path / "d", SetSettings(name="x", pairs=True))
    assert built.rows == 2 and reasons(built) == {"no_rejected": 1, "no_think_end": 1}
    row = load(built.file)[0]
    assert "Wait." in row["rejected"]["value"] and "Wait." not in row["chosen"]["value"]
    assert load(tmp_path / "d" / "dataset_info.json")["x"]["ranking"] is True
    # the same name as an SFT set again: nothing of the pairs is left in the entry
    build([write_rows(rows)], tmp_path / "d", SetSettings(name="x"), replace_set=True)
    assert "ranking" not in load(tmp_path / "d" / "dataset_info.json")["x"]


def test_questions_of_a_test_set_can_be_excluded(write_rows, tmp_path):
    rows = tiny.rows(5)
    test_set = tmp_path / "test.jsonl"
    test_set.write_text(json.dumps({"question": " ".join(rows[3]["question"].upper().split(" "))}))
    built = build([write_rows(rows)], tmp_path / "d", SetSettings(name="x"), exclude=[test_set])
    assert reasons(built) == {"excluded": 1} and built.rows == 4


@pytest.mark.parametrize(("make", "says"), [
    (lambda d: d / "nowhere", "no such run"),
    (lambda d: (d / "empty").mkdir() or d / "empty", "no pruned.jsonl"),
    (lambda d: (d / "e.jsonl").touch() or d / "e.jsonl", "It is empty"),
])
def test_bad_sources_are_one_line(tmp_path, make, says):
    with pytest.raises(UserError, match=says):
        build([make(tmp_path)], tmp_path / "d", SetSettings(name="x"))
    assert not (tmp_path / "d" / "dataset_info.json").exists()


def test_odd_facts_and_thinking_tags_in_questions(write_rows, tmp_path):
    rows = tiny.rows(6)
    rows[0]["tokens_before"] = "many"
    rows[1]["tokens_after"] = [1]
    rows[2]["question"] = "What does <think> mean?"
    rows[3]["question"] = "And </think>?"
    built = build([write_rows(rows)], tmp_path / "d", SetSettings(name="x"))
    assert built.rows == 4 and reasons(built) == {"think_twice": 2}


def test_a_run_that_is_not_complete_is_named(write_rows, tmp_path):
    run = write_rows(tiny.rows(4))
    (run / "summary.json").write_text('{"complete": false, "not_reached": 25}')
    done = CliRunner().invoke(command, [str(run), "-o", str(tmp_path / "d"), "--name", "x"])
    assert "run is not complete, 25 of its rows were not reached" in done.stderr


@pytest.mark.parametrize("name", ["x.card", "a,b", "a b", "../x", "", "-x", "a/b", "dataset_info"])
def test_names_that_llama_factory_could_not_find(write_rows, tmp_path, name):
    with pytest.raises(UserError, match="--name"):
        build([write_rows(tiny.rows(2))], tmp_path / "d", SetSettings(name=name))


def test_command(write_rows, tmp_path, byte_model):
    rows = tiny.rows(10)
    rows[0]["response"] = "cut off"
    arguments = [str(write_rows(rows)), "-o", str(tmp_path / "d"), "--name", "x"]
    plain = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert plain.return_value == 0
    assert plain.stdout.strip() == str(tmp_path / "d" / "x.json")
    assert "9 of 10 rows" in plain.stderr and "1 no_think_end" in plain.stderr
    assert "give --tokenizer" in plain.stderr
    strict = CliRunner().invoke(
        command, [*arguments, "--strict", "--tokenizer", str(byte_model)], standalone_mode=False)
    assert strict.return_value == 1 and "give --tokenizer" not in strict.stderr


def test_push_uploads_set_and_card_without_local_paths(write_rows, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    from drp_plugin.training.dataset_info import push

    build([write_rows(tiny.rows(4))], tmp_path / "d", SetSettings(name="x"))
    seen: dict[str, object] = {}

    class Api:
        def create_repo(self, repository, **arguments):
            seen["created"] = (repository, arguments["private"], arguments["repo_type"])
            return type("Url", (), {"repo_id": repository})()

        def upload_folder(self, *, folder_path, **arguments):
            seen["files"] = {f.name: f.read_text() for f in Path(folder_path).iterdir()}

    monkeypatch.setattr(hub, "HfApi", Api)
    assert push(tmp_path / "d", "x", "me/x") == "https://huggingface.co/datasets/me/x"
    assert seen["created"] == ("me/x", True, "dataset")
    files = seen["files"]
    assert set(files) == {"x.json", "x.provenance.jsonl", "x.card.json", "README.md"}
    assert not any(str(tmp_path) in text for text in files.values())


def test_push_refused_is_one_line(write_rows, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    from drp_plugin.training.dataset_info import push

    build([write_rows(tiny.rows(4))], tmp_path / "d", SetSettings(name="x"))

    class Api:
        def create_repo(self, *a, **k):
            raise RuntimeError("401 Unauthorized\nlong text")

    monkeypatch.setattr(hub, "HfApi", Api)
    with pytest.raises(UserError, match="401 Unauthorized"):
        push(tmp_path / "d", "x", "me/x")


def test_what_was_left_out_is_named_with_file_row_and_cause(write_rows, tmp_path):
    rows = tiny.rows(3)
    del rows[1]["response"]
    run = write_rows(rows)
    done = CliRunner().invoke(command, [str(run), "-o", str(tmp_path / "d"), "--name", "x"])
    assert f"left out: 1 bad_row; the first: {run / 'pruned.jsonl'}: row 2: field 'response'" \
        in done.stderr
    (tmp_path / "none.jsonl").write_text(json.dumps({"question": "q", "response": 5}))
    with pytest.raises(UserError, match=r"1 bad_row, the first: .*none.jsonl: row 1: field 'resp"):
        build([tmp_path / "none.jsonl"], tmp_path / "e", SetSettings(name="x"))


def test_a_full_disk_for_temporary_files_is_one_line(write_rows, tmp_path):
    rows = [{**row, "id": f"{i}" + "x" * 4000} for i, row in enumerate(tiny.rows(1500))]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
    ended = subprocess.run(
        [sys.executable, "-m", "drp_plugin", "build", write_rows(rows), "-o", tmp_path / "d",
         "--name", "x"], preexec_fn=limit, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "temporary files cannot be written" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_sets_of_other_layouts(tmp_path):
    file = tmp_path / "set.json"
    talk = [{"role": "user", "content": "1 + 1?"},
            {"role": "assistant", "content": "It is 2.", "reasoning_content": "One and one."}]
    file.write_text(json.dumps([
        {"messages": talk}, {"q": "2 + 2?", "generations": ["<think>a</think>4", "b</think>4"]}]))
    built = build([file], tmp_path / "d", SetSettings(name="x"), columns={})
    assert built.rows == 1
    file.write_text(json.dumps([{"q": "2 + 2?", "generations": ["<think>a</think>4",
                                                                "b</think>4"]}]))
    built = build([file], tmp_path / "e", SetSettings(name="x"), columns={"question": "q"})
    assert built.rows == 2 and not built.dropped
