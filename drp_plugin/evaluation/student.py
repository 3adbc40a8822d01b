"""What the lmms-eval models of this package share: requests in, counted completions out."""

import itertools
import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult, Instance
from lmms_eval.api.model import lmms
from lmms_eval.utils import simple_parse_args_string

from drp_plugin import hub
from drp_plugin.errors import UserError
from drp_plugin.evaluation.exchange import Counts, loudly, messages_of
from drp_plugin.evaluation.task_protocol import Generation, cut_at, stops
from drp_plugin.resources import table
from drp_plugin.sampling.arguments import check, flag, integer
from drp_plugin.sampling.completions import Completion, Failed, Outcome, Sampler, SampleRequest
from drp_plugin.sampling.pretrained import derived_seed
from drp_plugin.sampling.student_traces import Sampled
from drp_plugin.sampling.through_ledger import complete, opened, within_budget
from drp_plugin.terminal import phrase, say
from drp_plugin.thinking import CLOSE

COMMON = tuple(table("lmms_options.yaml")["common"])
LEDGER = "drp_completions.sqlite"
VISIBLE = "CUDA_VISIBLE_DEVICES"


class StudentModel(lmms):  # type: ignore[misc]
    """A student behind lmms-eval's model interface; docs/evaluation.md has the arguments."""

    is_simple = False
    name = adapter = ""  # The model's name, and that of the argument for an adapter
    tokenizer_name = ""

    def __init__(self, batch_size: Any = None, device: str | None = None,
                 max_batch_size: Any = None, **arguments: Any) -> None:
        super().__init__()
        with loudly():
            check(arguments, (*COMMON, *self.own()), self.name)
            take = arguments.pop
            other = take("model", None)
            self.pretrained = str(take("pretrained", None) or other or "")
            why = hub.missing(self.pretrained, arguments.get("revision")) if self.pretrained \
                else "no model was given"
            if why:
                raise UserError(why, fix="Give --model_args pretrained=FOLDER with a folder that "
                                "holds the weights")
            self.cap, self.budget = (integer(name, take(name, None))
                                     for name in ("max_new_tokens", "thinking_budget"))
            self.seed = integer("seed", take("seed", None), least=0)
            thinking = take("thinking", None)
            self.thinking = None if thinking is None else flag("thinking", thinking)
            if self.budget and self.thinking is False:
                raise UserError("thinking_budget has no effect with thinking=False",
                                fix="Leave one of them out")
            if max_batch_size is not None:
                raise UserError(f"--max_batch_size has no effect with {self.name}",
                                fix="Leave it out, or give --batch_size")
            self.stop_at_cutoff, self.stop_loops = (flag(name, take(name, False)) for name
                                                    in ("stop_at_cutoff", "stop_loops"))
            self.ledger_path = take("ledger", None)
            for name in {"trust_remote_code"} & set(arguments):
                arguments[name] = flag(name, arguments[name])
            # lmms-eval's default is the number 1; what a user writes arrives as text
            self.batch = integer("batch_size", batch_size) if isinstance(batch_size, str) \
                and batch_size != "auto" else None
            self.arguments = arguments
            self.inherited = os.environ.get(VISIBLE)
            self._rank = int(os.environ.get("RANK", 0))
            self._world_size = int(os.environ.get("WORLD_SIZE", 1))
            self.wanted_device = device
            # the evaluator's collectives use it: this rank's own
            self.device = torch.device(device if device is not None else (
                f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"))

    @classmethod
    def create_from_arg_string(cls, arg_string: str,
                               additional_config: dict[str, Any] | None = None) -> "StudentModel":
        """As lmms-eval's, but what --model_args says wins over --batch_size and --device. There
        they would meet twice, which ends a run with exit code 0 and no result."""
        with loudly():
            given = simple_parse_args_string(arg_string)
            config = {k: v for k, v in (additional_config or {}).items() if v is not None}
            if "batch_size" in given:
                given["batch_size"] = str(given["batch_size"])
            return cls(**{**config, **given})

    def own(self) -> tuple[str, ...]:
        """Names of the arguments beyond `COMMON`."""
        raise NotImplementedError

    @cached_property
    def sampler(self) -> Sampler:
        """The engine with its model, made for the first completion: the tasks are valid then."""
        raise NotImplementedError

    @property
    def chat_template(self) -> str:
        """For --apply_chat_template: these models always apply it."""
        return str(self.arguments.get("chat_template") or "the model's own")

    @staticmethod
    def apply_chat_template(turns: Any, **_: Any) -> str:
        """The messages as text, only for lmms-eval's own record of them."""
        return "\n\n".join(str(turn.get("content")) for turn in turns)

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        with loudly():
            asked = self._requests(requests, [r.args[1](self._doc(r)) for r in requests], 0)
            return [self._result([said], a, r) for said, a, r in zip(
                self._complete(requests, asked), asked, requests, strict=True)]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[GenerationResult]:
        with loudly():
            said: list[list[Completion]] = [[] for _ in requests]
            last: dict[int, SampleRequest] = {}
            for number in itertools.count():
                turns = {i: content for i, r in enumerate(requests) if len(said[i]) == number
                    for content, end, *_ in [r.args[1](self._doc(r), round_idx=number,
                    previous_output=[c.text for c in said[i]])] if not end}
                if not turns:
                    break
                some = [requests[i] for i in turns]
                asked = self._requests(some, list(turns.values()), number)
                for i, a, c in zip(turns, asked, self._complete(some, asked), strict=True):
                    said[i].append(c)
                    last[i] = a
            return [self._result(said[i], a, requests[i]) for i, a in sorted(last.items())]

    def loglikelihood(self, requests: list[Instance]) -> Any:
        with loudly():
            raise UserError(f"{self.name} generates text and computes no likelihoods",
                            fix="Take a task that generates")

    def clean(self) -> None:
        self.__dict__.pop("sampler", None)  # frees the engine before scoring begins
        super().clean()

    def _doc(self, request: Instance) -> Any:
        _, _, _, doc_id, task, split = request.args
        return self.task_dict[task][split][doc_id]

    def _requests(self, requests: list[Instance], turns: list[Any],
                  number: int) -> list[SampleRequest]:
        copies: Counter[tuple[Any, ...]] = Counter()
        made = []
        for request, turn in zip(requests, turns, strict=True):
            messages, wanted = messages_of(turn), Generation.read(request.args[2], self.name)
            place = (request.args[4], request.args[3])
            protocol = request.metadata.get("protocol") or {}
            made.append(SampleRequest(**{
                **wanted._asdict(), "messages": messages, "stop_loops": self.stop_loops,
                "max_new_tokens": min(wanted.max_new_tokens, self.cap or wanted.max_new_tokens),
                "cutoff": protocol.get("cutoff") if self.stop_at_cutoff else None,
                "seed": derived_seed(self._seed(request, wanted), *(m.content for m in messages),
                                     copies[place], number) if wanted.temperature else 0}))
            copies[place] += 1
        return made

    def _seed(self, request: Instance, wanted: Generation) -> int:
        """The seed of the completions: from --gen_kwargs, --model_args or --seed, in this order."""
        given = (wanted.seed, self.seed, request.metadata.get("seed"), 0)
        return next(seed for seed in given if seed is not None)

    def _complete(self, requests: list[Instance], asked: list[SampleRequest]) -> list[Completion]:
        folder = next((o for r in requests if (o := r.metadata.get("output_path"))), None)
        path = None if folder is None else Path(folder) / LEDGER
        if self.ledger_path is not None:
            path = None if str(self.ledger_path).lower() == "none" else Path(self.ledger_path)
        with opened(path) as ledger, Sampled().shown(self.name, len(asked), self.sampler,
                                                     self._rank == 0) as report:
            outcomes = complete(self.sampler, asked, ledger, report) if self.budget is None else \
                within_budget(self.sampler, asked, self.budget, ledger, report)
        return self._whole(requests, outcomes, kept=path is not None)

    def _whole(self, requests: list[Instance], outcomes: list[Outcome],
               kept: bool) -> list[Completion]:
        """Every request's completion: without room in the context, an empty cut one."""
        # those that are not too long first
        failed = sorted((o for o in outcomes if isinstance(o, Failed)),
                        key=lambda o: o.reason == "too_long")
        if failed and (failed[0].reason != "too_long" or len(failed) == len(outcomes)):
            said = phrase("first_failed", len(failed), of=len(outcomes), error=failed[0].error)
            raise UserError(said, fix="Nothing was scored." + (
                " Finished ones are kept: run the same command again" * kept))
        if failed:
            long = [f"{r.args[4]} {self._doc(r).get('id', r.args[3])}"
                    for r, o in zip(requests, outcomes, strict=True) if isinstance(o, Failed)]
            say(phrase("no_room", len(long), of=len(outcomes), error=failed[0].error,
                       names=", ".join(long[:5]) + " …" * (len(long) > 5)))
        done = [o for o in outcomes if isinstance(o, Completion) and o.finish == "stop"]
        if self.thinking is None and done and not any(CLOSE in o.text for o in done) \
                and (requests[0].metadata.get("protocol") or {}).get("thinking"):
            say(phrase("unclosed", len(done)))
        return [o if isinstance(o, Completion) else
                Completion(text="", tokens=0, prompt_tokens=0, finish="length") for o in outcomes]

    def _result(self, said: list[Completion], asked: SampleRequest,
                request: Instance) -> GenerationResult:
        last = said[-1]
        until = stops(request.args[2].get("until"))
        texts = [cut_at(c.text, until) for c in said]
        finish = "stop" if texts[-1] != last.text else last.finish
        counts = Counts(
            input_tokens=last.prompt_tokens, output_tokens=last.tokens + (last.finish == "stop"),
            finish=finish, tokenizer=self.pretrained,
            rounds=tuple(c.tokens for c in said[:-1]),
            settings={  # what affects the result
                "model": self.pretrained, "adapter": self.arguments.get(self.adapter),
                "stop_at_cutoff": self.stop_at_cutoff, "stop_loops": self.stop_loops,
                "thinking_budget": self.budget, "max_new_tokens": asked.max_new_tokens,
                **({} if self.thinking is None else {"thinking": self.thinking}),
                "seed": self._seed(request, Generation.read(request.args[2], self.name)),
                "temperature": asked.temperature,
                "top_p": asked.top_p if asked.temperature else None})
        return GenerationResult(text=texts if len(texts) > 1 else texts[0], token_counts=counts)
