"""The protocol of a task: everything a number depends on besides the model."""

from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from drp_plugin.errors import UserError
from drp_plugin.jsonl import explain
from drp_plugin.llm.messages import Message
from drp_plugin.methods.tale import budget
from drp_plugin.prompts import Prompts
from drp_plugin.records import Record
from drp_plugin.scoring import DEFAULT_CUTOFF


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
    fallback_prompt: str | None = None
    """TALE: the template of the second round where no budget can be read."""
    prefill: str | None = None
    """What the answer begins with, such as an empty thinking: the model goes on from there."""
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
        turns = [Message(role="user", content=self.prompts.render(template, **variables))]
        if self.protocol.system is not None:
            system = self.prompts.render(self.protocol.system, **variables)
            turns.insert(0, Message(role="system", content=system))
        elif self.system_instruction:
            turns.insert(0, Message(role="system", content=self.system_instruction))
        if self.protocol.prefill is not None:
            turns.append(Message(role="assistant", content=self.protocol.prefill))
        return tuple(turns)
