"""Tokenizer, template and model: is training what inference will see?"""

from __future__ import annotations

import json
import shutil

import pytest
import tiny_models as tiny
from preflight_help import codes

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.training.preflight.check_config import check  # noqa: E402


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


def test_5_missing_eos(good):
    # the `empty` template writes no end token
    found = codes(good(template="empty"))
    assert "no_eos" in found


def test_10_wrong_tokenizer(good, tmp_path):
    other = tiny.random_model(
        tiny.byte_tokenizer(tmp_path / "other", added=tiny.QWEN3_TOKENS, bos=None,
                            eos="<|im_end|>", pad="<|endoftext|>"), vocab=320)
    found = codes(good(model_name_or_path=str(other)))
    assert "wrong_tokenizer" in found


def test_10_tokenizer_larger_than_the_model(good, tmp_path):
    small = tiny.random_model(tiny.byte_tokenizer(tmp_path / "small"), vocab=270)
    assert "wrong_tokenizer" in codes(good(model_name_or_path=str(small)))


def test_13_cutoff_over_the_context(good):
    assert "cutoff_over_context" in codes(good(cutoff_len=8192))


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


def test_trained_parameters_are_those_of_peft(good):
    # two layers; q 32x32, k and v 32x16, o 32x32, three of the MLP 32x64
    facts = check(good(use_cpu=None)).facts
    assert facts["trained_parameters"] == 2 * 8 * (64 + 48 + 48 + 64 + 3 * 96)
    assert check(good(use_cpu=None, lora_target="q_proj")).facts[
        "trained_parameters"] == 2 * 8 * 64
