"""Each mistake that costs GPU days, planted and found; the good YAML passes in silence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models as tiny
import yaml
from click.testing import CliRunner

from drp_plugin.errors import UserError

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.training.preflight.run import check  # noqa: E402


def codes(path: Path, **arguments: object) -> list[str]:
    return [f.code for f in check(path, **arguments).problems]


def edit_set(path: Path, change: Callable[[list[dict]], object]) -> None:
    """Change the rows of the set that the YAML names, behind `drp build`'s back."""
    settings = yaml.safe_load(path.read_text())
    file = Path(settings["dataset_dir"]) / "good.json"
    rows = json.loads(file.read_text())
    change(rows)
    file.write_text(json.dumps(rows, ensure_ascii=False))


def response(rows: list[dict], number: int) -> str:
    return rows[number]["conversations"][1]["value"]


def respond(rows: list[dict], number: int, text: str) -> None:
    rows[number]["conversations"][1]["value"] = text


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


# The thirteen mistakes.


def test_1_tokenizer_that_loses_white_space(good, byte_model, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(byte_model, broken)
    settings = json.loads((broken / "tokenizer.json").read_text())
    # what transformers 5.6.0 makes of a `LlamaTokenizer` class over byte-level BPE
    settings["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁",
                                 "prepend_scheme": "never", "split": False}
    settings["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never",
                           "split": False}
    (broken / "tokenizer.json").write_text(json.dumps(settings, ensure_ascii=False))
    assert "tokenizer_loses_space" in codes(good(model_name_or_path=str(broken)))


@pytest.mark.parametrize("template", ["qwen", "deepseek3", "llama3", "qwen3"])
def test_2_wrong_template(good, template):
    found = codes(good(template=template))
    if template == "deepseek3":  # the same layout without thinking: nothing differs
        assert found == []
    else:
        assert "prompt_differs" in found and "eos_changed" in found


def test_2_no_template(good):
    assert "no_template" in codes(good(template=None))


def test_3_double_think_in_the_response(good):
    path = good()
    edit_set(path, lambda rows: respond(rows, 3, "<think>\n" + response(rows, 3)))
    assert codes(path) == ["double_think"]


def test_3_double_think_from_the_prompt(good):
    path = good()

    def prefill(rows: list[dict]) -> None:
        rows[0]["conversations"][0]["value"] += "<think>\n"

    edit_set(path, prefill)
    assert "double_think" in codes(path)


def test_4_missing_think_end(good):
    path = good()
    edit_set(path, lambda rows: respond(rows, 5, response(rows, 5).replace("</think>", "")))
    assert codes(path) == ["no_think_end"]


def test_5_missing_eos(good):
    # the `empty` template writes no end token
    found = codes(good(template="empty"))
    assert "no_eos" in found


def test_6_cut_rows(good):
    path = good(cutoff_len=140)
    report = check(path)
    assert [f.code for f in report.problems] == ["cut_rows"]
    assert 0 < report.facts["cut_rows"] < 40
    assert report.exit_code() == 1
    assert check(path, max_cut=100).exit_code() == 0


def test_6_cut_rows_are_counted_exactly(good):
    lengths = []
    for cutoff in (140, 145, 150):
        report = check(good(cutoff_len=cutoff))
        lengths.append(report.facts["cut_rows"])
    rows = tiny.rows(40)
    # one token a byte, three control tokens in front and behind, two tags of one token each
    sizes = [3 + len(r["question"]) + 2 + 1 + len(
        r["response"].replace("<think>", "").replace("</think>", "")) for r in rows]
    assert lengths == [sum(size > cutoff for size in sizes) for cutoff in (140, 145, 150)]


def test_7_unknown_data_set(good):
    report = check(good(dataset="god"))
    assert [f.code for f in report.problems] == ["unknown_dataset"]
    assert "did you mean 'good'" in report.problems[0].text


def test_7_missing_data_file(good, tmp_path):
    path = good()
    (tmp_path / "data" / "good.json").unlink()
    assert codes(path) == ["bad_dataset"]


def test_7_no_dataset_info(good, tmp_path):
    assert codes(good(dataset_dir=str(tmp_path / "nowhere"))) == ["no_dataset_info"]


@pytest.mark.parametrize("leak", [" (Answer: {})", "\nThe answer is {}.", " #### {}",
                                  " Hint: \\boxed{{{}}}"])
def test_8_gold_in_the_prompt(good, leak):
    path = good()

    def give_away(rows: list[dict]) -> None:
        final = response(rows, 2).rsplit(" ", 1)[1].rstrip(".")
        rows[2]["conversations"][0]["value"] += leak.format(final)

    edit_set(path, give_away)
    assert codes(path) == ["gold_in_prompt"]


def test_9_empty_response(good):
    path = good()
    edit_set(path, lambda rows: respond(rows, 7, ""))
    assert "empty_response" in codes(path)


def test_10_wrong_tokenizer(good, tmp_path):
    other = tiny.random_model(
        tiny.byte_tokenizer(tmp_path / "other", added=tiny.QWEN3_TOKENS, bos=None,
                            eos="<|im_end|>", pad="<|endoftext|>"), vocab=320)
    found = codes(good(model_name_or_path=str(other)))
    assert "wrong_tokenizer" in found


def test_10_tokenizer_larger_than_the_model(good, tmp_path):
    small = tiny.random_model(tiny.byte_tokenizer(tmp_path / "small"), vocab=270)
    assert "wrong_tokenizer" in codes(good(model_name_or_path=str(small)))


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


def test_13_cutoff_over_the_context(good):
    assert "cutoff_over_context" in codes(good(cutoff_len=8192))


# And beyond the thirteen.


@pytest.fixture(scope="module")
def chatml_model(tmp_path_factory):
    """Qwen3's and QwQ's layout over one token a byte, with QwQ's prefilled <think>."""
    return tiny.random_model(tiny.byte_tokenizer(
        tmp_path_factory.mktemp("models") / "chatml", chat=tiny.chat_template("chat_chatml"),
        added=tiny.QWEN3_TOKENS, bos=None, eos="<|im_end|>", pad="<|endoftext|>"),
        vocab=320, bos=256, eos=258)


def test_qwen3_and_qwq_by_naming_their_template(good, chatml_model):
    assert codes(good(model_name_or_path=str(chatml_model), template="qwen3")) == []


def test_qwq_under_llama_factorys_own_entry(good, chatml_model):
    """LLaMA-Factory lists QwQ under `qwen`, whose system prompt inference does not send."""
    report = check(good(model_name_or_path=str(chatml_model), template="qwen"))
    assert [f.code for f in report.problems] == ["prompt_differs"]
    assert "You are Qwen" in report.examples[0].masked


def test_thinking_switched_off(good):
    assert "thinking_off" in codes(good(enable_thinking=False))


def test_openai_formatting_changes_the_prompt(good, tmp_path):
    path = good()
    info = tmp_path / "data" / "dataset_info.json"
    info.write_text(json.dumps({"good": {
        "file_name": "good.json", "formatting": "openai",
        "columns": {"messages": "conversations"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human",
                 "assistant_tag": "gpt"}}}))
    assert "prompt_differs" in codes(path)


def test_an_adapter_that_is_not_there(good, tmp_path):
    assert "missing_file" in codes(good(adapter_name_or_path=str(tmp_path / "none")))


def test_deepspeed_plan_that_is_not_there(good, tmp_path):
    assert "missing_file" in codes(good(deepspeed=str(tmp_path / "none.json")))


def test_preference_pairs_are_checked_on_both_sides(good, tmp_path, write_rows):
    from drp_plugin.training.build import Settings, build

    path = good(dataset="pairs", stage="dpo", val_size=None, eval_strategy=None)
    build([write_rows(tiny.rows(20))], tmp_path / "data", Settings(name="pairs", pairs=True))
    assert codes(path) == []
    file = tmp_path / "data" / "pairs.json"
    rows = json.loads(file.read_text())
    rows[4]["rejected"]["value"] = rows[4]["rejected"]["value"].replace("</think>", "")
    file.write_text(json.dumps(rows))
    assert codes(path) == ["no_think_end"]


@pytest.mark.parametrize(("changes", "says"), [
    ({"cuttoff_len": 3}, "cutoff_len"),
    ({"stage": "sfft"}, "refuses"),
])
def test_what_the_parser_refuses_is_one_line(good, changes, says):
    with pytest.raises(UserError, match=says) as error:
        check(good(**changes))
    assert "\n" not in str(error.value)


def test_a_model_that_cannot_be_had_is_one_line(good):
    with pytest.raises(UserError, match="--model PATH"):
        check(good(model_name_or_path="nobody/nothing"))


def test_command_exit_codes_and_output(good, tmp_path):
    from drp_plugin.cli.check import command

    path = good()
    run = CliRunner().invoke(command, [str(path), "--no-color"], standalone_mode=False)
    assert run.return_value == 0, run.output
    assert "nothing wrong found" in run.output and "trained: <think>" in run.output
    colour = CliRunner().invoke(command, [str(path), "--color"], standalone_mode=False, color=True)
    assert "\x1b[32m<think>" in colour.output
    bad = CliRunner().invoke(command, [str(path), "cutoff_len=140", "--quiet"],
                             standalone_mode=False)
    assert bad.return_value == 1
    assert len(bad.output.strip().splitlines()) == 1 and "cut_rows" in bad.output
    as_json = CliRunner().invoke(command, [str(path), "cutoff_len=140", "--json"],
                                 standalone_mode=False)
    assert json.loads(as_json.output)["findings"][0]["code"] == "cut_rows"
    assert not (tmp_path / "out").exists()  # a check leaves nothing behind
