"""Chat layouts of the reasoning families, as text, and the LLaMA-Factory template of each.

LLaMA-Factory trains `prompt + target`; the serving side builds its prompt from the tokenizer's
Jinja chat template. The two must agree token for token, or the student is trained on a prompt
that it will never see. `drp check` proves it for a real tokenizer; this module knows the layouts,
so that lengths can be counted without LLaMA-Factory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError

Count = Callable[[str], int]
"""Text to number of tokens, none added: `drp_plugin.tokens.TokenCounter.count`."""


@dataclass(frozen=True)
class Family:
    """How one family of reasoning models lays out a question and its response."""

    template: str
    """Name in LLaMA-Factory, for `template:`."""
    prefix: str
    """Text before everything, where the family has a beginning-of-sequence token."""
    before: str
    """Text before the question."""
    after: str
    """Text between question and response."""
    end: str
    """Text after the response, trained: the token that stops generation."""
    models: str
    """What it is for."""

    def prompt(self, question: str) -> str:
        """Everything that the student reads before it writes, without a prefilled `<think>`."""
        return self.prefix + self.before + question + self.after

    def marks(self) -> tuple[str, ...]:
        """Control tokens that must not occur inside a question or a response."""
        text = self.prefix + self.before + self.after + self.end
        return tuple(dict.fromkeys(re.findall(r"<[|｜][^<>]*?[|｜]>|<[a-z_]+_of_[a-z]+>|\[/?INST\]",
                                              text)))

    def tokens(self, count: Count, prompt: str, response: str) -> int:
        """Tokens of one training row: prompt, response and end token."""
        return count(self.prompt(prompt)) + count(response + self.end)


_CHATML = dict(prefix="", before="<|im_start|>user\n", after="<|im_end|>\n<|im_start|>assistant\n",
               end="<|im_end|>\n")

FAMILIES: dict[str, Family] = {family.template: family for family in (
    # The Llama R1-Distill models carry DeepSeek's control tokens too: the same template is theirs.
    Family("deepseekr1", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
           "<｜end▁of▁sentence｜>", "DeepSeek-R1 and its Qwen and Llama distillations"),
    Family("qwen3", models="Qwen3 with thinking, QwQ", **_CHATML),
)}

DEFAULT_TEMPLATE = "deepseekr1"


def family(template: str, tokenizer: str | None = None) -> tuple[Family, str | None]:
    """The layout of a LLaMA-Factory template, and a note where it is not LLaMA-Factory's own word.

    Names that are not known here are asked of LLaMA-Factory. Where it is not installed, the chat
    template of `tokenizer`, the student's folder, tells the layout.

    Raises UserError for a template that there is not, and where nothing can be known about it.
    """
    if template in FAMILIES:
        return FAMILIES[template], None
    from drp_plugin.training.preflight import framework

    try:
        framework.require()
    except UserError as missing:
        if tokenizer is None or not (folder := Path(tokenizer).expanduser()).is_dir():
            raise UserError(f"--template {template!r} cannot be looked up: {missing}", fix=(
                "Or give --tokenizer FOLDER, whose chat template tells the layout")) from None
        return chat_layout(template, folder), (
            f"the layout of {template!r} is that of {folder}'s chat template, as LLaMA-Factory "
            "cannot be asked; `drp check` compares the two")
    fault = framework.template_fault(template)
    if fault:
        raise UserError(fault, fix="The template is the student's own, as the YAML names it")
    return framework.layout(template, framework.tokenizer_of(tokenizer)), None


def chat_layout(template: str, folder: Path) -> Family:
    """The layout that a tokenizer's own chat template has. Raises UserError where it has none."""
    import jinja2.sandbox

    def text(value: Any) -> str:
        return str(value["content"] if isinstance(value, dict) else value or "")

    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        file = folder / "chat_template.jinja"
        source = file.read_text(encoding="utf-8") if file.is_file() else settings["chat_template"]
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        render = environment.from_string(source).render
        bos, eos = text(settings.get("bos_token")), text(settings.get("eos_token"))
        turn = [{"role": "user", "content": "Q\0Q"}]
        asked = render(messages=turn, add_generation_prompt=True, bos_token=bos, eos_token=eos)
        answered = render(messages=[*turn, {"role": "assistant", "content": "R\0R"}],
                          bos_token=bos, eos_token=eos)
    except Exception as error:  # a template may raise anything
        raise UserError(f"has no chat template that can be read ({type(error).__name__}: {error})",
                        file=folder, fix="Install LLaMA-Factory, or leave --template out") from None
    before, _, after = asked.partition("Q\0Q")
    return Family(template, "", before, after.removesuffix("<think>\n"),
                  answered.partition("R\0R")[2], "")
