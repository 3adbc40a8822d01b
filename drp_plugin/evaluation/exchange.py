"""What passes between lmms-eval and our tasks and models: messages, counts, ends."""

import contextlib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lmms_eval.api.instance import TokenCounts

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Message
from drp_plugin.terminal import say


@dataclass
class Counts(TokenCounts):
    """lmms-eval's counters, which land in the samples file, with more of them."""

    finish: str | None = None  # `sampling.completions.Finish` of the scored completion
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the model that bear on the result: cap, early stopping, adapter."""
    tokenizer: str | None = None  # Folder or hub name of the model's tokenizer
    rounds: tuple[int, ...] = ()  # Tokens of earlier rounds, for prompts in several rounds

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), **({"finish": self.finish} if self.finish is not None else {}),
                **({"rounds": list(self.rounds)} if self.rounds else {})}


@contextlib.contextmanager
def loudly() -> Iterator[None]:
    """One line and exit code 2 for the user's mistakes, traceback and 1 for everything else.
    lmms-eval's `except Exception`, after which it exits with 0, lets SystemExit pass."""
    try:
        yield
    except UserError as error:
        say(str(error))
        raise SystemExit(2) from None
    except Exception as error:
        traceback.print_exc()
        say(f"the run failed: {type(error).__name__}: {error}")
        raise SystemExit(1) from None


def messages_of(turns: Any) -> tuple[Message, ...]:
    """Messages whose content is a list of parts. Raises UserError for images and sound."""
    made = []
    for turn in turns:
        parts = turn["content"]
        if isinstance(parts, str):
            parts = [{"type": "text", "text": parts}]
        if any(part["type"] != "text" for part in parts):
            raise UserError("the task shows images or sound, and this model reads text alone",
                            fix="Take a text task such as drp_gsm8k")
        made.append(Message(role=turn["role"], content="".join(part["text"] for part in parts)))
    return tuple(made)
