"""Steps go by their importance to a local model: `entropy:MODEL`, `perplexity:MODEL`, `pir:MODEL`.

`entropy`: a step's entropy is the sum of its tokens' entropies. `perplexity`: its importance is how
much the perplexity of A rises without it alone. docs/methods.md compares them with their papers.
The model is asked like a teacher, so that its scores are kept in the run's ledger."""

import asyncio
import importlib.util
import json
from collections.abc import Sequence
from typing import Any, Literal

from drp_plugin import hub
from drp_plugin.errors import UserError, install
from drp_plugin.llm.messages import Message, Reply, Request, Sampling, Teacher, TeacherError
from drp_plugin.methods import Given, Method
from drp_plugin.methods.dropping import PATTERNS, parse_ratio, sentences, to_ratio, without
from drp_plugin.pruning.dialogue import CheckedTrace, Dialogue, Result
from drp_plugin.records import Step, Usage
from drp_plugin.sampling.pretrained import Chat, fingerprint
from drp_plugin.thinking import CLOSE, OPEN, split_response

SHARE = 0.8  # Share of steps dropped by entropy, without a RATIO
CHECKING = PATTERNS.checking
_CHUNK = 256  # Tokens whose distributions over the vocabulary are in memory at a time
Score = Literal["entropy", "answer"]


def method(given: Given) -> Method:
    """Raises UserError for an invalid model or ratio."""
    before, at, behind = given.argument.rpartition("@")
    model, ratio = (before, parse_ratio(behind)) if at else (given.argument, None)
    by_entropy = given.name == "entropy"

    async def prune(checked: CheckedTrace, dialogue: Dialogue) -> Result:
        steps, stays = sentences(checked)
        found = await scores("entropy" if by_entropy else "answer", checked, steps, dialogue)
        values = found if by_entropy else found[1:]
        order = sorted((s.index for s in steps if s.index != stays and (given.name != "pir"
            or CHECKING.search(s.text))), key=lambda i: values[i - 1])
        if ratio is not None:
            dropped = to_ratio(ratio, checked, steps, order, dialogue.count)
        elif by_entropy:
            dropped = set(order[:int(SHARE * len(steps))])
        else:
            dropped = {i for i in order if values[i - 1] <= found[0]}
        return without(checked, steps, dropped)

    return Method(prune, Scorer(model))


async def scores(what: Score, checked: CheckedTrace, steps: Sequence[Step],
                 dialogue: Dialogue) -> list[float]:
    """Figures of a trace. `entropy`: each step's sum of its tokens' entropies in nats. `answer`:
    mean negative log-likelihood of A's tokens, behind T, then behind T without each step."""
    said = f"{checked.thinking}\n{CLOSE}\n\n{checked.answer}"
    request = Request(messages=(Message(role="user", content=checked.trace.question),
                  Message(role="assistant", content=said)), tag=what,
        sampling=Sampling(extra={"score": what, "steps": [(s.start, s.end) for s in steps]}))
    found: list[float] = json.loads((await dialogue.reply("score", request)).text)
    return found


class Scorer(Teacher):
    """The model. Raises UserError if it or torch is not available."""

    local = True

    def __init__(self, model: str) -> None:
        if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
            raise UserError("step importance needs torch and transformers", fix=install("eval"))
        if why := hub.missing(model):
            raise UserError(why, fix="Give a folder that holds the weights")
        self.identity = {"kind": "scorer", **fingerprint(model)}
        self._path, self._model, self._chat = model, None, None  # type: Any, Any, Any
        self._one = asyncio.Lock()

    async def ask(self, request: Request) -> Reply:
        """The scores that `scores` asks for, as JSON. Raises TeacherError for a long trace."""
        async with self._one:
            values, tokens = await asyncio.to_thread(self._score, request)
        return Reply(text=json.dumps([round(v, 6) for v in values]),
                     usage=Usage(requests=1, prompt_tokens=tokens))

    def _score(self, request: Request) -> tuple[list[float], int]:
        self._load()
        extra, text = request.sampling.extra, request.messages[1].content
        prompt = self._chat.encode(request.messages[:1])
        if not self._chat.decode(prompt[-4:]).rstrip().endswith(OPEN):
            prompt += self._chat.tokenizer(f"{OPEN}\n", add_special_tokens=False)["input_ids"]
        if extra["score"] == "entropy":
            return self._entropies(prompt, text, extra["steps"])
        thinking, answer, _ = split_response(text)
        ends = [start for start, _ in extra["steps"][1:]] + [len(thinking)]
        variants = [thinking] + [thinking[:start] + thinking[end:] for (start, _), end
                                 in zip(extra["steps"], ends, strict=True)]
        rated = [self._rate(prompt, f"{kept.strip()}\n{CLOSE}\n\n".lstrip(), answer)
                 for kept in variants]
        return [value for value, _ in rated], sum(tokens for _, tokens in rated)

    def _load(self) -> None:
        if self._model is not None:
            return
        import torch
        from transformers import AutoModelForCausalLM

        gpu = torch.cuda.is_available()
        self._chat = Chat(self._path)
        model: Any = AutoModelForCausalLM.from_pretrained(
            self._path, dtype="auto" if gpu else torch.float32)
        self._model = model.to("cuda" if gpu else "cpu").eval()

    def _log_probabilities(self, ids: list[int], first: int) -> Any:
        """For the tokens from `first` on, chunk by chunk: their ids and log-distributions."""
        import torch

        longest = getattr(self._model.config, "max_position_embeddings", None)
        if longest and len(ids) > longest:
            raise TeacherError(f"the trace has {len(ids)} tokens with its question, the model's "
                               f"context {longest}")
        tokens = torch.tensor([ids], device=self._model.device)
        with torch.inference_mode():
            out = self._model(input_ids=tokens[:, :first - 1], use_cache=True, logits_to_keep=1)
            for start in range(first - 1, len(ids) - 1, _CHUNK):
                end = min(start + _CHUNK, len(ids) - 1)
                out = self._model(input_ids=tokens[:, start:end], use_cache=True,
                                  past_key_values=out.past_key_values)
                yield tokens[0, start + 1:end + 1], out.logits[0].float().log_softmax(-1)

    def _entropies(self, prompt: list[int], text: str,
                   steps: list[list[int]]) -> tuple[list[float], int]:
        coded = self._chat.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = prompt + coded["input_ids"]
        each: list[float] = []
        for _, logs in self._log_probabilities(ids, len(prompt)):
            each += (-(logs.exp() * logs).nansum(-1)).tolist()
        sums, step = [0.0] * len(steps), 0
        for value, (_, end) in zip(each, coded["offset_mapping"], strict=True):
            while step < len(steps) - 1 and end > steps[step][1]:
                step += 1
            if steps[step][0] < end <= steps[step][1]:  # not the space between two steps
                sums[step] += value
        return sums, len(ids)

    def _rate(self, prompt: list[int], before: str, answer: str) -> tuple[float, int]:
        head = self._chat.tokenizer(before, add_special_tokens=False)["input_ids"]
        tail = self._chat.tokenizer(answer, add_special_tokens=False)["input_ids"]
        ids, first = prompt + head + tail, len(prompt) + len(head)
        total = 0.0
        for wanted, logs in self._log_probabilities(ids, first):
            total -= float(logs.gather(-1, wanted[:, None]).sum())
        return total / max(len(tail), 1), len(ids)
