"""A task's protocol, which is all that a number depends on besides the model, and how completions
are drawn (generation_kwargs, --gen_kwargs). All of it is checked, and nothing is ignored."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field, ValidationError

from drp_plugin.errors import UserError
from drp_plugin.jsonl import explain
from drp_plugin.llm.messages import Message
from drp_plugin.methods.tale import budget
from drp_plugin.prompts import Prompts
from drp_plugin.records import Record
from drp_plugin.resources import table
from drp_plugin.sampling.arguments import check, flag, integer, number
from drp_plugin.scoring import DEFAULT_CUTOFF

_KEYS = table("lmms_options.yaml")["generation"]


class TaskProtocol(Record):
    """The `protocol:` mapping of a task's YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: str  # What `sampling.questions.load` takes
    prompt: str = "eval_boxed"  # `prompts/<name>.jinja`, with the variable `question`
    system: str | None = None  # `prompts/<name>.jinja` of the system prompt
    variables: dict[str, Any] = Field(default_factory=dict)  # Further variables of the templates
    prompts_dir: str | None = None  # Folder whose templates win over the shipped ones
    budget_prompt: str | None = None
    """TALE: the template of a first round that asks for a token budget, `[[N]]`; the second
    round's `prompt` then has the variable `budget`."""
    fallback_prompt: str | None = None  # TALE: the second round's, if no budget can be read
    prefill: str | None = None  # What the answer begins with, such as an empty thinking
    cutoff: int | None = DEFAULT_CUTOFF  # Tokens that are read; None for no cutoff
    tokenizer: str = "qwen"
    """What tokens are counted with: `qwen`, `model` (the model's own), a folder or a hub name."""
    thinking: bool = True  # False for models without `<think>`

    @classmethod
    def parse(cls, values: dict[str, Any], where: str) -> "TaskProtocol":
        """Raises UserError that names the task and the field."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(f"task {where}: protocol: {explain(error)}",
                            fix=f"It may have: {', '.join(cls.model_fields)}") from None


class Prompting:
    """The messages of a question, under a protocol."""

    def __init__(self, protocol: TaskProtocol) -> None:
        self.protocol = protocol
        self.prompts = Prompts(Path(protocol.prompts_dir) if protocol.prompts_dir else None)
        self.system_instruction: str | None = None
        """A system prompt that the run sets (lmms-eval's --system_instruction)."""
        self.rounds = 1 if protocol.budget_prompt is None else 2

    def first(self, question: str) -> tuple[Message, ...]:
        """The messages of the first (mostly the only) round."""
        return self._turn(self.protocol.budget_prompt or self.protocol.prompt, question)

    def second(self, question: str, reply: str) -> tuple[Message, ...]:
        """TALE's second round: the question under the budget that the first one named."""
        if (found := budget(reply)) is None:
            return self._turn(self.protocol.fallback_prompt or "eval_tale_fallback", question)
        return self._turn(self.protocol.prompt, question, budget=found)

    def _turn(self, template: str, question: str, **more: Any) -> tuple[Message, ...]:
        variables = {**self.protocol.variables, **more, "question": question}
        system = self.system_instruction or None
        if self.protocol.system is not None:
            system = self.prompts.render(self.protocol.system, **variables)
        turns = {"system": system, "user": self.prompts.render(template, **variables),
                 "assistant": self.protocol.prefill}
        return tuple(Message.model_validate({"role": role, "content": text})
                     for role, text in turns.items() if text is not None)


class Generation(NamedTuple):
    """How completions are drawn."""

    temperature: float  # 0 is greedy
    top_p: float
    top_k: int | None
    max_new_tokens: int
    seed: int | None  # None where the model's own holds

    @classmethod
    def read(cls, given: Mapping[str, Any], model: str) -> "Generation":
        """Read lmms-eval's generation kwargs. Raises UserError for a key that `model` does not
        have, a value of the wrong type, and a temperature that greedy decoding would ignore."""
        said = {key: value for key, value in given.items() if key not in _KEYS["idle"] and not (
            key in _KEYS["neutral"] and value in (None, "None", _KEYS["neutral"][key]))}
        check(said, _KEYS["read"], f"generation_kwargs (--gen_kwargs) of {model}")
        stops(given.get("until"))
        temperature = number("temperature", given.get("temperature")) or 0.0
        top_p = number("top_p", given.get("top_p"), most=1)
        if temperature and top_p == 0:
            raise UserError("top_p=0 keeps no token to draw from",
                            fix="For greedy decoding give temperature=0")
        # engines write -1 or 0 for none
        top_k = integer("top_k", given.get("top_k") or None, least=-1)
        if not flag("do_sample", given.get("do_sample", True)) and temperature:
            raise UserError(
                f"temperature={temperature:g} has no effect with do_sample=False, which the task "
                "or --gen_kwargs sets", fix="Add do_sample=True to --gen_kwargs to sample, or "
                "temperature=0 for greedy decoding")
        limits = [integer(name, given.get(name)) for name in ("max_new_tokens", "max_gen_toks")]
        return cls(
            temperature=temperature, top_p=1.0 if not temperature or top_p is None else top_p,
            top_k=top_k if temperature and (top_k or 0) > 0 else None,
            max_new_tokens=min((n for n in limits if n is not None), default=1024),
            seed=integer("seed", given.get("seed"), least=0))


def stops(until: Any) -> list[str]:
    """The texts that completions are cut at, as a YAML or --gen_kwargs has them. That option passes
    text only: a list is read as JSON. Raises UserError for stops that cannot be obeyed."""
    found = [] if until is None else [until] if isinstance(until, str) else until
    if isinstance(until, str):
        listed = until.lstrip().startswith("[")
        with contextlib.suppress(ValueError):
            found = json.loads(until) if listed else found
        if found == [until] and (listed or "\\n" in until):
            raise UserError(f"until={until} is neither text nor a list of texts in JSON",
                            fix='Write until=["\\n\\n"]; --gen_kwargs takes no comma within, and '
                            "a task's YAML takes several")
    if not isinstance(found, list | tuple) or not all(isinstance(stop, str) for stop in found):
        raise UserError(f"until={until} must be text or a list of texts")
    return [stop for stop in found if stop]


def cut_at(text: str, found: list[str]) -> str:
    """Text up to the first of the task's stop strings. Our own tasks have none."""
    for stop in found:
        text = text.partition(stop)[0]
    return text
