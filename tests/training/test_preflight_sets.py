"""Faults of data sets as wholes, planted and found."""

from __future__ import annotations

import json

import pytest
import tiny_models as tiny
from preflight_help import codes, edit_set

from drp_plugin.errors import UserError

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.training.preflight.check_config import check  # noqa: E402


def test_7_unknown_data_set(good):
    report = check(good(dataset="god"))
    assert [f.code for f in report.problems] == ["unknown_dataset"]
    assert "Did you mean 'good'" in report.problems[0].text


def test_7_missing_data_file(good, tmp_path):
    path = good()
    (tmp_path / "data" / "good.json").unlink()
    assert codes(path) == ["bad_dataset"]


def test_7_no_dataset_info(good, tmp_path):
    assert codes(good(dataset_dir=str(tmp_path / "nowhere"))) == ["no_dataset_info"]


def test_11_split_of_a_split(good, tmp_path):
    path = good(dataset="good_train")
    info = tmp_path / "data" / "dataset_info.json"
    entries = json.loads(info.read_text())
    entries["good_train"] = entries["good_val"] = entries["good"]
    info.write_text(json.dumps(entries))
    assert codes(path) == ["split_of_split"]


def test_11_evaluation_rows_are_trained_on(good):
    found = codes(good(eval_dataset="good", val_size=None))
    assert found == ["eval_in_train"]


def test_11_eval_dataset_and_val_size(good):
    with pytest.raises(UserError, match="val_size"):
        check(good(eval_dataset="good"))


def test_12_max_samples_over_an_unshuffled_mix(good, tmp_path):
    path = good(tiny.rows(200), max_samples=100)
    assert codes(path) == []
    edit_set(path, lambda rows: rows.sort(key=lambda r: len(r["conversations"][1]["value"])))
    (tmp_path / "data" / "good.provenance.jsonl").unlink()  # nobody says which row is from where
    assert codes(path) == ["unshuffled_max_samples"]


def test_12_max_samples_over_sources_in_order(good, tmp_path):
    path = good(tiny.rows(200), max_samples=100)
    file = tmp_path / "data" / "good.provenance.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(sorted(lines, key=lambda line: json.loads(line)["group"])))
    assert codes(path) == ["unshuffled_max_samples"]


@pytest.mark.parametrize("text", ["", "{", "[]", '"good"'])
def test_a_dataset_info_that_is_no_json_object(good, tmp_path, text):
    path = good()
    (tmp_path / "data" / "dataset_info.json").write_text(text)
    (found,) = check(path).problems
    assert found.code == "bad_dataset_info" and "JSON" in found.text


THOUGHT = "<think>\nFirst 1 plus 2 is 3.\n</think>\n\nThe answer is 3."
TURNS = [{"role": "user", "content": "What is 1 + 2?"}, {"role": "assistant", "content": THOUGHT}]
SAID = {"role_tag": "role", "content_tag": "content"}
NAMED = {**SAID, "user_tag": "user", "assistant_tag": "assistant"}


def entry(**changes: object) -> dict[str, object]:
    return {"file_name": "own.json", "formatting": "sharegpt",
            "columns": {"messages": "messages"}, "tags": NAMED} | changes


@pytest.mark.parametrize(("own", "rows", "says"), [
    (entry(), [{"messages": TURNS}], None),
    (entry(tags=SAID), [{"messages": TURNS}], "user_tag None and assistant_tag None"),
    (entry(tags={**NAMED, "user_tag": "human"}), [{"messages": TURNS}], "user_tag 'human'"),
    (entry(), [{"messages": TURNS[::-1]}], "drops all its rows"),
    (entry(formatting="openai"), [{"messages": [TURNS[0], {"role": "tool", "content": ""}]}],
     "has the role 'tool'"),
    (entry(columns={"prompt": "messages"}), [{"messages": TURNS}], "names no column"),
    (entry(columns="messages"), [{"messages": TURNS}], "entry in dataset_info.json is incomplete"),
    (entry(columns=None), [{"messages": TURNS}], "entry in dataset_info.json is incomplete"),
    ("own.json", [{"messages": TURNS}], "entry in dataset_info.json is incomplete"),
    ({"formatting": "sharegpt"}, [{"messages": TURNS}], "a file_name"),
    (entry(formatting="shareGPT"), [{"messages": TURNS}], "in the format 'shareGPT'"),
    (entry(ranking=True), [{"messages": TURNS}], "is a preference set"),
    ({"file_name": "own.json"}, [{"instruction": "Q?", "input": "", "output": None}],
     "none has a response"),
    ({"file_name": "own.json"}, [{"a": 1}, {"a": "two"}], "Could not convert 'two'"),
], ids=lambda value: None)
@pytest.mark.parametrize("where", ["dataset", "eval_dataset"])
def test_sets_of_ones_own(good, tmp_path, own, rows, says, where):
    """The true cause, for the set that is trained on and for the one that is evaluated."""
    path = good(**{where: "own"}, **({"val_size": 0.0} if where == "eval_dataset" else {}))
    info = tmp_path / "data" / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"own": own}))
    (tmp_path / "data" / "own.json").write_text(json.dumps(rows))
    if says is None and where == "eval_dataset":
        assert codes(path) == []
    elif says is not None:
        found = check(path).problems[0]
        assert found.code == "bad_dataset" and says in found.text
        assert found.text.startswith(f"{where} 'own'")


@pytest.mark.parametrize(("made", "says"), [
    (lambda text: text[:-30].encode(), "Unterminated"),
    (lambda text: text.encode("utf-16"), "utf-8"),
    (lambda text: b"\xef\xbb\xbf" + text.encode(), "BOM"),
    (lambda text: text.replace("pens", "pens\u00e9").encode("latin-1"), "utf-8"),
    (lambda text: text.replace("}]}", "},]}", 1).encode(), "not JSON"),
    (lambda text: b"version https://git-lfs.github.com/spec/v1", "Expecting value"),
    (lambda text: b"", "is empty"),
])
def test_files_that_are_no_json(good, tmp_path, made, says):
    """`datasets` says of all of them that a column changed from object to array."""
    path, file = good(), tmp_path / "data" / "good.json"
    file.write_bytes(made(file.read_text()))
    (found,) = check(path).problems
    assert found.code == "bad_dataset" and says in found.text and str(file) in found.text


@pytest.mark.parametrize(("column", "change", "code"), [
    (None, lambda row: row["conversations"][0].update(value=None), "empty_prompt"),
    ("tools", lambda row: row.update(tools="not JSON"), "not_encoded"),
    ("images", lambda row: row.update(images=["a.png"]), "not_encoded"),
    (None, lambda row: row["conversations"].extend(
        [{"from": "human", "value": "And now?"}, {"from": "gpt", "value": THOUGHT}]),
     "prompt_differs"),
])
def test_rows_that_training_dies_of_or_reads_otherwise(good, tmp_path, column, change, code):
    path = good()
    edit_set(path, lambda rows: [change(row) for row in rows])
    if column:
        info = tmp_path / "data" / "dataset_info.json"
        entries = json.loads(info.read_text())
        entries["good"]["columns"][column] = column
        info.write_text(json.dumps(entries))
    found = check(path).problems
    assert code in [f.code for f in found]
    if code == "prompt_differs":
        assert "several turns" in found[0].text
    else:
        assert "not_encoded" in [f.code for f in found]


def test_an_unknown_eval_dataset(good):
    (found,) = check(good(eval_dataset="god", val_size=0.0)).problems
    assert found.code == "unknown_dataset" and "Did you mean 'good'" in found.text
