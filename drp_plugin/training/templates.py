"""The text around a question: its prompt, since the student is trained on what it will be asked,
and the chat layout of the model's family, with its LLaMA-Factory template.

Lengths are counted by the layouts; `drp check` compares them with the chat template of inference.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drp_plugin.errors import UserError
from drp_plugin.prompts import Prompts
from drp_plugin.resources import table

Count = Callable[[str], int]  # text to tokens, none added: `drp_plugin.tokens.TokenCounter.count`
BARE = "none"  # The bare question, as `eval_plain` is too
EVALUATED = "eval_boxed"  # what `drp generate` and the tasks ask, except of the embedded student


@cache
def asking(prompt: str) -> Callable[[str], str]:
    """Question to prompt, by a template of `prompts/`, a FILE.jinja, or `none`; or UserError."""
    if prompt == BARE:
        return str.strip
    prompts, name = Prompts(), prompt
    if prompt.endswith(".jinja"):
        prompts, name = Prompts(Path(prompt).parent), Path(prompt).stem
    prompts.render(name, question="What is 2 + 3?")
    return lambda question: prompts.render(name, question=question)


@dataclass(frozen=True)
class Family:
    """How one family of reasoning models lays out a question and its response. `template` is its
    name in LLaMA-Factory, `prefix` opens the prompt, `before` and `after` surround the question,
    and `end` closes the response: it is trained, and its token stops generation."""

    template: str
    prefix: str
    before: str
    after: str
    end: str

    def prompt(self, question: str) -> str:
        """Everything that the student reads before it writes, without a prefilled `<think>`."""
        return self.prefix + self.before + question + self.after

    def marks(self) -> tuple[str, ...]:
        """Control tokens that must not occur inside a question or a response."""
        text = self.prefix + self.before + self.after + self.end
        return tuple(dict.fromkeys(re.findall(r"<[|｜][^<>]*?[|｜]>|<[a-z_]+_of_[a-z]+>|\[/?INST\]",
                                              text)))

    def tokens(self, count: Count, prompt: str, response: str) -> int:
        return count(self.prompt(prompt)) + count(response + self.end)


FAMILIES = {layout["template"]: Family(**layout)
            for layout in table("llamafactory.yaml")["families"]}

DEFAULT_TEMPLATE = "deepseekr1"


def family(template: str, tokenizer: str | None = None) -> tuple[Family, str | None]:
    """The layout of a LLaMA-Factory template, and a note if it is not from LLaMA-Factory itself.
    Without LLaMA-Factory, the chat template of `tokenizer`, the student's folder, tells the layout
    of one not known here. Raises UserError for an unknown template."""
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
    if fault := framework.template_fault(template):
        raise UserError(fault, fix="The template is the student's own, as the YAML names it")
    return framework.layout(template, framework.tokenizer_of(tokenizer)), None


def chat_layout(template: str, folder: Path) -> Family:
    """The layout that a tokenizer's own chat template has. Raises UserError where it has none."""
    import jinja2.sandbox

    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        file = folder / "chat_template.jinja"
        source = file.read_text(encoding="utf-8") if file.is_file() else settings["chat_template"]
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        render = environment.from_string(source).render
        ends = {key: str(value["content"] if isinstance(value, dict) else value or "")
                for key in ("bos_token", "eos_token") for value in [settings.get(key)]}
        turn = [{"role": "user", "content": "Q\0Q"}]
        asked = render(messages=turn, add_generation_prompt=True, **ends)
        answered = render(messages=[*turn, {"role": "assistant", "content": "R\0R"}], **ends)
    except Exception as error:  # a template may raise anything
        raise UserError(f"has no chat template that can be read ({type(error).__name__}: {error})",
                        file=folder, fix="Install LLaMA-Factory, or leave --template out") from None
    before, _, after = asked.partition("Q\0Q")
    return Family(template, "", before, after.removesuffix("<think>\n"),
                  answered.partition("R\0R")[2])
