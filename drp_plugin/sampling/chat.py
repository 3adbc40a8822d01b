"""Between messages and token ids: chat template, stop tokens, decoding."""

import contextlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Message
from drp_plugin.thinking import OPEN

_PROOF = "Okay, so 12 + 7 = 19.\n\nWait, let me check:  19 - 7 is 12.\n"


class Chat:
    """A student's tokenizer with its chat template. Raises UserError without one, or when text does
    not come back as it was (some transformers releases lose every space of R1-Distill's)."""

    def __init__(self, model: str, *, template: str | None = None, revision: str | None = None,
                 trust_remote_code: bool = False) -> None:
        from transformers import AutoTokenizer

        self.model = model
        self.tokenizer: Any = AutoTokenizer.from_pretrained(
            model, revision=revision, trust_remote_code=trust_remote_code)
        if template is not None:
            if not Path(template).is_file():
                raise UserError("no such chat template", file=template)
            self.tokenizer.chat_template = Path(template).read_text(encoding="utf-8")
        if not getattr(self.tokenizer, "chat_template", None):
            raise UserError(f"{model} has no chat template",
                            fix="Give one with chat_template=FILE.jinja")
        again = self.decode(self.tokenizer(_PROOF, add_special_tokens=False)["input_ids"])
        if again != _PROOF:
            raise UserError(f"the tokenizer of {model} does not give text back as it was "
                            f"({again[:40]!r})", fix="Install another transformers release")

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The prompt's ids, the assistant's turn opened; a last message of its own begins it."""
        turns = [{"role": m.role, "content": m.content} for m in messages]
        begun = str(turns.pop()["content"]) if turns[-1]["role"] == "assistant" else ""
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        if text.rstrip().endswith(OPEN) and begun.startswith(OPEN):  # the template has opened it
            begun = begun.removeprefix(OPEN).removeprefix(text[len(text.rstrip()):])
        return list(self.tokenizer(text + begun, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids; special tokens stay, since `</think>` can be one."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False,
                                         clean_up_tokenization_spaces=False))

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end a completion: the tokenizer's, and the generation config's."""
        found = {self.tokenizer.eos_token_id}
        with contextlib.suppress(OSError):  # no generation_config.json: the tokenizer's alone
            from transformers import GenerationConfig

            ids = GenerationConfig.from_pretrained(self.model).eos_token_id
            found |= set(ids) if isinstance(ids, list) else {ids}
        return frozenset(i for i in found if i is not None)
