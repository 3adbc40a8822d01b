"""The prompt that a question is put in: the student is trained on what it will be asked."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from drp_plugin.prompts import Prompts

BARE = "none"  # The question as it stands, which `eval_plain` is as well
EVALUATED = "eval_boxed"  # what `drp generate` and the tasks ask, but the embedded student


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
