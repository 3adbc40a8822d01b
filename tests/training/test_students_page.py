"""docs/students.md: `drp check` finds nothing with what the page gives, and what it says without.

The chat templates are ours, in the layout of the family; each token is a byte or a control token.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models as tiny
import yaml
from checkout import ROOT
from preflight_help import codes

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

PAGE = (ROOT / "docs" / "students.md").read_text("utf-8")
PHI = "You are Phi. Think first."
CHATS = {  # a turn each, and where the answer begins
    "phi": "{{- '<|im_start|>system<|im_sep|>" + PHI + "<|im_end|>' -}}"
           "{%- for m in messages if m['role'] != 'system' -%}{{- '<|im_start|>' + m['role'] "
           "+ '<|im_sep|>' + m['content'] + '<|im_end|>' -}}{%- endfor -%}"
           "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant<|im_sep|>' -}}{%- endif -%}",
    "glm": "{{- '[gMASK]<sop>' -}}{%- for m in messages -%}"
           "{{- '<|' + m['role'] + '|>\n' + m['content'] -}}{%- endfor -%}"
           "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}",
    "glm_prefilled": "{{- '[gMASK]<sop>' -}}{%- for m in messages -%}"
           "{{- '<|' + m['role'] + '|>\n' + m['content'] -}}{%- endfor -%}"
           "{%- if add_generation_prompt -%}{{- '<|assistant|>\n<think>' -}}{%- endif -%}",
}
THINK = [("<think>", False), ("</think>", False)]
TOKENS = {
    "phi": [("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_sep|>", True),
            ("<|im_end|>", True), *THINK],
    "glm": [("<|endoftext|>", True), ("[gMASK]", True), ("<sop>", True), ("<|system|>", True),
            ("<|user|>", True), ("<|assistant|>", True), ("<|observation|>", True), *THINK],
    "chatml": tiny.QWEN3_TOKENS, "r1": tiny.R1_TOKENS,
}
Student = Callable[[str, str, str], Path]


@pytest.fixture
def student(tmp_path: Path) -> Student:
    """A random model with the control tokens and the chat template of a family."""
    def make(tokens: str, chat: str, eos: str) -> Path:
        added = [token for token, _ in TOKENS[tokens]]
        folder = tiny.byte_tokenizer(
            tmp_path / "student", chat=CHATS.get(chat) or tiny.chat_template(chat),
            added=TOKENS[tokens], bos=tiny.BOS if tokens == "r1" else None, eos=eos,
            pad=added[0])
        return tiny.random_model(folder, vocab=320, bos=256, eos=256 + added.index(eos))
    return make


CASES = {  # the page's row: tokens, chat template, end, settings, and what is found
    "DeepSeek-R1-Distill-Llama": ("r1", "chat_r1_distill", tiny.EOS, {}, []),
    "Qwen3 with thinking": ("chatml", "chat_chatml_open", "<|im_end|>", {}, []),
    "Qwen3-Thinking": ("chatml", "chat_chatml", "<|im_end|>", {}, []),
    "Phi-4-reasoning": ("phi", "phi", "<|im_end|>", {"default_system": PHI}, []),
    "GLM-4.5": ("glm", "glm", "<|user|>", {}, []),
    "GLM-Z1": ("glm", "glm_prefilled", "<|user|>", {}, []),
}


def row(name: str) -> list[str]:
    """A row of the page's table."""
    (line,) = re.findall(rf"^\| {re.escape(name)}\b[^\n]*\|$", PAGE, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("name", CASES)
def test_a_student_of_the_page(name: str, student: Student, good: Callable[..., Path]) -> None:
    tokens, chat, eos, settings, found = CASES[name]
    template = re.findall(r"`(\w+)`", row(name)[1])[0]
    path = good(model_name_or_path=str(student(tokens, chat, eos)), template=template, **settings)
    assert codes(path) == found
    assert yaml.safe_load(path.read_text())["template"] == template
