"""Training ids are inference ids, token for token, over the real vocabulary and real traces.

A trained row is `prompt + target` by LLaMA-Factory. A generated row is the chat template's prompt
followed by what the model writes. Both must be the same ids, or the student is trained on text
that it never meets.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import tiny_models as tiny

from drp_plugin.thinking import join_response, split_response
from drp_plugin.training.templates import FAMILIES

pytest.importorskip("llamafactory")
pytestmark = [pytest.mark.framework, pytest.mark.data]

ROWS = 1000


def real_rows(data_dir: Path, number: int) -> list[tuple[str, str]]:
    """Questions and responses in the training shape.

    The real traces as they are; then, until there are enough, real traces with paragraphs left
    out, which is what pruning makes of them.
    """
    whole = []
    with open(data_dir / "traces_math_train_r1distill.jsonl", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            parts = split_response(row["response"])
            if parts.complete and parts.thinking and parts.answer:
                whole.append((row["question"].strip(), parts.thinking, parts.answer))
    made = [(q, join_response(t, a)) for q, t, a in whole]
    for step in range(2, 12):
        for question, thinking, answer in whole:
            paragraphs = re.split(r"(?<=\n\n)", thinking)
            kept = "".join(p for i, p in enumerate(paragraphs) if i % step == 0)
            if kept.strip():
                made.append((question, join_response(kept, answer)))
    unique = list(dict.fromkeys(made))
    assert len(unique) >= number
    return unique[:number]


def differences(folder: Path, template: str, rows: list[tuple[str, str]]) -> list[int]:
    """Numbers of the rows whose training ids are not the ids of inference."""
    from llamafactory.data.processor import SupervisedDatasetProcessor
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments
    from transformers import AutoTokenizer

    data = DataArguments(template=template, cutoff_len=2**30)
    inference = AutoTokenizer.from_pretrained(folder)
    training = AutoTokenizer.from_pretrained(folder)
    layout = get_template_and_fix_tokenizer(training, data)
    processor = SupervisedDatasetProcessor(template=layout, tokenizer=training, processor=None,
                                           data_args=data)
    end = FAMILIES[template].end
    wrong = []
    for number, (question, response) in enumerate(rows):
        ids, labels = processor._encode_data_example(
            prompt=[{"role": "user", "content": question}],
            response=[{"role": "assistant", "content": response}], system="", tools="",
            images=[], videos=[], audios=[])
        text = inference.apply_chat_template([{"role": "user", "content": question}],
                                             add_generation_prompt=True, tokenize=False)
        prompt = inference.apply_chat_template([{"role": "user", "content": question}],
                                               add_generation_prompt=True, tokenize=True)
        prefill = "<think>\n" if text.endswith("<think>\n") else ""
        generated = inference.encode(response.removeprefix(prefill) + end,
                                     add_special_tokens=False)
        masked = labels.index(next(label for label in labels if label != -100))
        same = ids == prompt + generated
        same &= inference.decode(ids) == text.removesuffix(prefill) + response + end
        same &= labels[masked:] == ids[masked:] and masked <= len(prompt)
        if not same:
            wrong.append(number)
    return wrong


@pytest.fixture(scope="module")
def rows(data_dir: Path) -> list[tuple[str, str]]:
    return real_rows(data_dir, ROWS)


@pytest.mark.parametrize("chat", ["chat_r1_distill", "chat_r1_distill_open"])
def test_r1_distill_trains_what_it_infers(qwen, tmp_path, rows, chat):
    folder = tmp_path / "model"
    shutil.copytree(qwen, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = tiny.chat_template(chat)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert differences(folder, "deepseekr1", rows) == []


def family_tokenizer(folder: Path, chat: str) -> Path:
    """The Qwen vocabulary with the control tokens of Qwen3 and QwQ."""
    return tiny.config_only(tiny.qwen_tokenizer(
        folder, chat=tiny.chat_template(chat), added=tiny.QWEN3_TOKENS, bos=None,
        eos="<|im_end|>", pad="<|endoftext|>"))


@pytest.mark.parametrize("chat", ["chat_chatml", "chat_chatml_open"])
def test_qwen3_and_qwq_train_what_they_infer(tmp_path, rows, chat):
    assert differences(family_tokenizer(tmp_path / "q", chat), "qwen3", rows[240:440]) == []


def test_llamas_distillation_has_the_same_layout(tmp_path, rows, byte_model):
    """R1-Distill-Llama carries DeepSeek's control tokens over another vocabulary."""
    assert differences(byte_model, "deepseekr1", rows[900:]) == []


def test_qwq_under_llama_factorys_own_entry_is_another_prompt(tmp_path, rows):
    """LLaMA-Factory lists QwQ under `qwen`, whose system prompt QwQ's chat template has not."""
    from drp_plugin.training.templates import FAMILIES as families

    folder = family_tokenizer(tmp_path / "q", "chat_chatml")
    families["qwen"] = families["qwen3"]
    try:
        assert differences(folder, "qwen", rows[:3]) == [0, 1, 2]
    finally:
        del families["qwen"]


def test_the_comparison_can_fail(qwen, rows):
    """A response that is not in the exact shape is a difference."""
    question, response = rows[0]
    assert differences(qwen, "deepseekr1", [(question, response.replace(
        "<think>\n", "<think>\n\n", 1))]) == [0]
    assert differences(qwen, "deepseekr1", [(question, response.replace(
        "<think>\n", "<think>", 1))]) == [0]


def test_an_empty_thinking_is_trained_as_it_is_inferred(qwen):
    """The shape of `no-thinking`; with a blank line in it the prompt would end in another token."""
    rows = [("What is 2 + 3?", join_response("", "5")), ("What?", "<think>\n\n</think>\n\n5")]
    assert differences(qwen, "deepseekr1", rows) == [1]
