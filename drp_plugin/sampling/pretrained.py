"""A model apart from its engine: the tokenizer with chat template and stop tokens, a completion in
the making, and the identity by which the ledger's keys and the seeds are made."""

import contextlib
import hashlib
import os
import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Message
from drp_plugin.loops import EVERY, token_period
from drp_plugin.resources import table
from drp_plugin.sampling.completions import Completion, Failed, Finish, SampleRequest
from drp_plugin.thinking import OPEN

_PROOF = "Okay, so 12 + 7 = 19.\n\nWait, let me check:  19 - 7 is 12.\n"
_KINDS = {".safetensors", ".bin", ".pt", ".json", ".jinja", ".txt", ".model"}
_SMALL = 64 << 20


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


class Drawn:
    """A completion in the making: the ids of the prompt, and those that were generated."""

    def __init__(self, index: int, request: SampleRequest, chat: Chat, context: int) -> None:
        self.index, self.request, self.chat = index, request, chat
        self.prompt, self.ids = chat.encode(request.messages), list[int]()
        self.limit = min(request.limit, context - len(self.prompt))  # most new tokens
        self.failed = Failed.too_long(len(self.prompt), context) if self.limit < 1 else None
        self.random = random.Random(request.seed)
        self._checked = 0

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.ids)

    def loops(self) -> bool:
        """Whether it is asked for, time to look, and the tail goes round in circles."""
        if not self.request.stop_loops or len(self.ids) - self._checked < EVERY:
            return False
        self._checked = len(self.ids)
        return token_period(self.ids) is not None

    def ended(self, finish: Finish) -> Completion:
        return Completion(text=self.chat.decode(self.ids), tokens=len(self.ids),
                          prompt_tokens=len(self.prompt), finish=finish)


def identity(engine: str, model: str, *, revision: str | None = None,
             chat_template: str | None = None, adapter: str | None = None,
             **arguments: Any) -> dict[str, Any]:
    """What a completion of this model in this engine depends on, for the ledger's keys.
    `chat_template` is a file that replaces the model's own; `arguments` are the engine's, without
    those that affect speed only. A path is identified by its content."""
    known = {name: _value(value) for name, value in sorted(arguments.items())
             if name not in table("engines.yaml")["speed"] and value is not None}
    if adapter is not None:
        known["adapter"] = fingerprint(adapter)
    if chat_template is not None:
        known["template"] = Path(chat_template).read_text(encoding="utf-8")
    return {"engine": engine, **fingerprint(model, revision), **known}


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_value(v) for v in value]
    if isinstance(value, str) and os.sep in value:
        if Path(value).is_dir():
            return fingerprint(value)
        if Path(value).is_file():
            return hashlib.sha256(Path(value).read_bytes()).hexdigest()[:32]
    return value if isinstance(value, bool | int | float) else str(value)


def fingerprint(model: str, revision: str | None = None) -> dict[str, Any]:
    """What identifies a model's weights and tokenizer: a folder's files (content up to 64 MB, else
    by size and date), a hub name and its revision."""
    folder = Path(model)
    if not folder.is_dir():
        return {"model": model, **({"revision": revision} if revision else {})}
    digest = hashlib.sha256()
    for file in sorted(f for f in folder.iterdir() if f.suffix in _KINDS):
        stat = file.stat()
        mark = hashlib.sha256(file.read_bytes()).hexdigest() if stat.st_size <= _SMALL \
            else f"{stat.st_size} {stat.st_mtime_ns}"
        digest.update(f"{file.name} {mark}\n".encode())
    return {"files": digest.hexdigest()[:32]}


def derived_seed(base: int, *parts: Any) -> int:
    """A seed of 31 bits for one request, whatever the order of work."""
    text = "\0".join(str(part) for part in (base, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
