"""Chat layouts of the reasoning families, as text, and the LLaMA-Factory template of each.

LLaMA-Factory trains `prompt + target`; the serving side builds its prompt from the tokenizer's
Jinja chat template. The two must agree token for token, or the student is trained on a prompt
that it will never see. `drp check` proves it for a real tokenizer; this module knows the layouts,
so that lengths can be counted without LLaMA-Factory.
"""

from __future__ import annotations

from dataclasses import dataclass

from drp_plugin.errors import UserError


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
        import re

        text = self.prefix + self.before + self.after + self.end
        return tuple(dict.fromkeys(re.findall(r"<[|｜][^<>]*?[|｜]>", text)))


_CHATML = dict(prefix="", before="<|im_start|>user\n", after="<|im_end|>\n<|im_start|>assistant\n",
               end="<|im_end|>\n")

FAMILIES: dict[str, Family] = {family.template: family for family in (
    # The Llama R1-Distill models carry DeepSeek's control tokens too: the same template is theirs.
    Family("deepseekr1", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
           "<｜end▁of▁sentence｜>", "DeepSeek-R1 and its Qwen and Llama distillations"),
    Family("qwen3", models="Qwen3 with thinking, QwQ", **_CHATML),
)}

DEFAULT_TEMPLATE = "deepseekr1"


def family(template: str) -> Family:
    """The family of a LLaMA-Factory template name.

    Raises UserError for a template whose layout is not known here.
    """
    try:
        return FAMILIES[template]
    except KeyError:
        raise UserError(f"no reasoning template is called {template!r}",
                        fix=f"Known: {', '.join(FAMILIES)}") from None
