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
