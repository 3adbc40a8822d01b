"""The good YAML passes in silence; the command around the check."""

from __future__ import annotations

import json
import os

import pytest
import tiny_models as tiny
from click.testing import CliRunner

from drp_plugin.errors import UserError

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.training.preflight.check_config import check  # noqa: E402


def test_the_good_yaml_passes_in_silence(good):
    report = check(good())
    assert report.problems == []
    assert report.exit_code(strict=True) == 0
    assert report.facts["rows"] == 40 and report.facts["cut_rows"] == 0
    assert report.facts["prefilled_think"] is True


def test_steps_and_batch_are_those_of_the_trainer(good):
    facts = check(good(num_train_epochs=2.0), gpus=2).facts
    # 40 rows, 2 held out; 38 rows in batches of 2 on 2 GPUs, 2 accumulated
    assert (facts["train_rows"], facts["eval_rows"]) == (38, 2)
    assert facts["effective_batch"] == 8
    assert facts["steps"] == 10


def test_examples_show_what_is_masked_and_what_is_trained(good):
    example = check(good()).examples[0]
    assert example.masked.startswith(tiny.BOS + tiny.USER)
    assert example.masked.endswith(tiny.ASSISTANT)
    assert example.trained.startswith("<think>\n") and example.trained.endswith(tiny.EOS)


@pytest.mark.parametrize(("values", "gpus"), [
    ({"NPROC_PER_NODE": "4", "NNODES": "2"}, 8), ({"NPROC_PER_NODE": "0"}, 1),
    ({"NPROC_PER_NODE": "auto"}, 1), ({"NPROC_PER_NODE": "2", "NNODES": "1:4"}, 2)])
def test_gpus_of_the_launcher(good, monkeypatch, values, gpus):
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert check(good()).facts["gpus"] == gpus


@pytest.mark.parametrize("settings", [
    {"bf16": True, "fsdp": "full_shard"},  # the parser sets variables
    {"packing": True, "preprocessing_num_workers": 2},  # `datasets` replaces os.environ
    {"dataset": "nothing"}])
def test_a_check_leaves_the_environment_as_it_was(good, monkeypatch, settings):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    environment, before = os.environ, dict(os.environ)
    check(good(**settings))
    assert os.environ is environment and dict(os.environ) == before


def test_a_model_that_cannot_be_had_is_one_line(good):
    with pytest.raises(UserError, match="--model PATH"):
        check(good(model_name_or_path="nobody/nothing"))


def test_decoded_rows_are_shortened(monkeypatch, tmp_path):
    from drp_plugin.cli.sets import check as command
    from drp_plugin.training.preflight import check_config
    from drp_plugin.training.preflight.findings import Preflight, TrainedRow

    text = f"<think>{'x' * 700}MIDDLE{'y' * 700}</think>"
    monkeypatch.setattr(check_config, "check", lambda *_, **__: Preflight(
        "c.yaml", examples=[TrainedRow("short", text, "the shortest row")]))
    short, full = (CliRunner().invoke(command, ["c.yaml", *more]).output
                   for more in ([], ["--full"]))
    assert "MIDDLE" in full and "characters more, whole with --full" not in full
    assert "MIDDLE" not in short and "[… 421 characters more, whole with --full …]" in short
    assert "<think>xxx" in short and "yyy</think>" in short and "masked:  short" in short


def test_command_exit_codes_and_output(good, tmp_path):
    from drp_plugin.cli.sets import check as command

    path = good()
    run = CliRunner().invoke(command, [str(path), "--no-color"], standalone_mode=False)
    assert run.return_value == 0, run.output
    assert run.output.rstrip().endswith("nothing wrong found"), "findings come last"
    assert run.output.index("trained: <think>") < run.output.index("info ")
    colour = CliRunner().invoke(command, [str(path), "--color"], standalone_mode=False, color=True)
    assert "\x1b[32m<think>" in colour.output
    bad = CliRunner().invoke(command, [str(path), "cutoff_len=212", "--quiet"],
                             standalone_mode=False)
    assert bad.return_value == 1
    assert len(bad.output.strip().splitlines()) == 1 and "cut_rows" in bad.output
    as_json = CliRunner().invoke(command, [str(path), "cutoff_len=212", "--json"],
                                 standalone_mode=False)
    assert json.loads(as_json.output)["findings"][0]["code"] == "cut_rows"
    assert not (tmp_path / "out").exists()  # a check leaves nothing behind
