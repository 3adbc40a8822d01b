"""The task class behind every YAML of `lmms_eval_tasks/`: the paper's protocol (§4.2, §4.6)."""

import sys
import threading
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.evaluation.exchange import Counts, loudly
from drp_plugin.evaluation.lmms_private import TextTask
from drp_plugin.evaluation.task_protocol import Prompting, TaskProtocol
from drp_plugin.finish import ended as ended_by_itself
from drp_plugin.resources import table
from drp_plugin.sampling.arguments import integer
from drp_plugin.sampling.questions import load
from drp_plugin.scoring import Measured, measure_many
from drp_plugin.scoring.samples import FAILED
from drp_plugin.statistics import pass_at
from drp_plugin.terminal import say
from drp_plugin.tokens import TokenCounter

PASS_AT = (2, 4, 8, 16, 32, 64)  # Samples among which the chance of a right one is told
_NOTHING = Counts()  # What models other than ours report


class DRPTask(TextTask):
    """A set of questions under a protocol; completions reach the scorer as they came. The YAML has,
    besides lmms-eval's own keys, `protocol:` (see `TaskProtocol`), and `variant:`, whose entries
    win over those of `protocol:`."""

    metrics = {  # shares are between 0 and 1  # noqa: RUF012
        "accuracy": True, "accuracy_no_cutoff": True, "tokens": False, "tokens_no_cutoff": False,
        "think_tokens": False, "truncated": False, "no_answer": False, "loops": False,
        "stopped_early": False, "first_round_tokens": False,
        **{f"pass_at_{j}": True for j in PASS_AT}}

    def __init__(self, config: dict[str, Any]) -> None:
        config = {k: v for k, v in config.items() if k != "class"}
        own = {**config.pop("protocol", {}), **config.pop("variant", {})}
        self._told: dict[str, tuple[list[Counts], list[list[str]]]] = {}  # and earlier rounds
        self._counter: TokenCounter | None = None
        self._offset = 0
        self._lock = threading.Lock()
        with loudly():
            self.protocol = TaskProtocol.parse(own, str(config.get("task")))
            self.prompting = Prompting(self.protocol)
            metadata = {"version": 1.0, "prompt": self.protocol.prompt,
                        "protocol": self.protocol.model_dump(mode="json")}
            super().__init__(config={**config, "metadata": metadata})

    def download(self, dataset_kwargs: Any = None) -> None:
        """Load the questions; called by the parent's constructor."""
        from datasets import Dataset, DatasetDict

        rows = [row.model_dump() for row in load(self.protocol.questions)]
        self.dataset = self.dataset_no_image = DatasetDict(
            {self.config.test_split: Dataset.from_list(rows)})

    def doc_to_text(self, doc: dict[str, Any], *_: Any, **__: Any) -> str:
        """The first round as one text, for models that take no messages."""
        return "\n\n".join(m.content for m in self.prompting.first(doc["question"])
                           if m.role != "assistant")

    fewshot_context = doc_to_text

    def doc_to_target(self, doc: dict[str, Any], *_: Any, **__: Any) -> str:
        return str(doc["answer"])

    def doc_to_visual(self, doc: dict[str, Any], *_: Any, **__: Any) -> list[Any]:
        return []

    def doc_to_messages(self, doc: dict[str, Any], *, round_idx: int | None = None,
                        previous_output: Any = None, previous_round_info: Any = None) -> Any:
        """lmms-eval's protocol for one and for several rounds."""
        if round_idx is not None and round_idx >= self.prompting.rounds:
            return None, True, previous_output, None
        turns = self.prompting.second(doc["question"], previous_output[-1]) if round_idx \
            else self.prompting.first(doc["question"])
        content = [{"role": m.role, "content": [{"type": "text", "text": m.content}]}
                   for m in turns]
        return content if round_idx is None else (content, False, previous_output, None)

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Obey or refuse the options of the command line; see `TextTask.prepare`."""
        with loudly():
            name, given = str(self.config.task), self.command_line
            for option, (neutral, why) in table("lmms_options.yaml")["options"].items():
                if getattr(given, option, None) not in (None, neutral) and (
                        option != "force_simple" or self.kind == "chat"):
                    raise UserError(f"--{option} has no effect with {name}",
                                    fix=f"Leave it out: {why}")
            kwargs = self.config.generation_kwargs = dict(self.config.generation_kwargs or {})
            if prompt := kwargs.pop("prompt", None):    # a checkpoint's own, see recipes/arena_7b
                self.protocol = self.protocol.model_copy(update={"prompt": str(prompt)})
                self.prompting = Prompting(self.protocol)
                self.prompting.first("")    # raises where there is no such prompt
            system = settings.get("system_instruction")
            if system and self.protocol.system is not None:
                raise UserError(f"--system_instruction has no effect with {name}, which has "
                                "its own system prompt", fix="Leave it out")
            self.prompting.system_instruction = system
            # -n 1 is lmms-eval's default too
            once = getattr(given, "repeats", 0) == 1 and any(
                word.startswith(("-n", "--repeats", "--num_samples")) for word in sys.argv)
            self.config.repeats = integer("repeats", kwargs.pop("repeats", None)) \
                or (1 if once else self.config.repeats)
            if self.config.repeats > 1 and self._greedy:
                raise UserError(f"{name} is greedy: {self.config.repeats} repeats would all be "
                                "the same", fix=f"Take {name}_sampled, or --gen_kwargs "
                                "do_sample=True,temperature=0.6")
            self._offset = int(settings.get("offset") or 0)
            if settings.get("limit") == 0 or self._offset >= len(self.task_docs):
                raise UserError(f"--limit and --offset leave none of the {len(self.task_docs)} "
                                f"questions of {name}", fix="Give others")
            # finished completions are kept in the folder that is written to, too
            output, seeds = getattr(given, "output_path", None), getattr(given, "seed", None)
            if output and Path(output).suffix in (".json", ".jsonl"):
                output = str(Path(output).parent)
            return {"output_path": output or None,
                    "seed": seeds[0] if isinstance(seeds, list | tuple) else None}

    @property
    def _greedy(self) -> bool:
        kwargs = self.config.generation_kwargs or {}
        return not kwargs.get("do_sample", True) or not kwargs.get("temperature")

    def apply_filters(self) -> None:
        """Keep every repeat, unchanged, with what the model reported about it."""
        with loudly():
            for instance in self.answered():
                # of several rounds the last one is the completion
                replies = [r[-1] if isinstance(r, list) else r for r in instance.resps]
                failed = [r for r in replies if not isinstance(r, str) or r.startswith(FAILED)]
                if failed or not replies:
                    raise UserError(f"task {self.config.task}: the model gave no completion for "
                                    f"question {instance.doc_id} ({str(failed or None)[:120]})",
                                    fix="Nothing was scored. Run the same command again")
                doc = self.task_docs[instance.doc_id]
                self._told[doc["id"]] = (
                    [c if isinstance(c, Counts) else _NOTHING for c in instance.token_counts],
                    [r[:-1] for r in instance.resps if isinstance(r, list)])
                instance.resps = instance.filtered_resps["none"] = replies
            if "bypass" not in self._metric_fn_list:  # its messages come before the progress bar
                self._tokens([c for told, _ in self._told.values() for c in told])

    def process_results(self, doc: dict[str, Any], results: list[Any],
                        full_docs: Any = None) -> dict[str, Any]:
        """The metrics of one question, and under `drp` all that they were computed from."""
        if "bypass" in self._metric_fn_list:  # --predict_only
            return {"bypass": 0}
        with loudly():
            replies = results[0] if results and isinstance(results[0], list) else results
            n = len(replies)
            told, earlier = self._told.get(doc["id"]) or ([_NOTHING] * n, [])
            measured = measure_many(
                replies, [doc["answer"]] * n, [doc["dataset"]] * n, self._tokens(told),
                self.protocol.cutoff,
                backend_tokens=[c.output_tokens for c in told],
                # as the model was asked to, else the task's own
                thinking=bool(_settings(told).get("thinking", self.protocol.thinking)),
                ended=[ended_by_itself(c.finish) for c in told])
            found = self._metrics(doc, measured, told)
            found["drp"] |= {"earlier_rounds": earlier} if earlier else {}
            return found

    def _tokens(self, told: list[Counts]) -> TokenCounter:
        with self._lock:
            if self._counter is None:
                own = next((c.tokenizer for c in told if c.tokenizer), None)
                self._counter = _counter(self.protocol.tokenizer, own)
            return self._counter

    def _metrics(self, doc: dict[str, Any], measured: list[Measured],
                 told: list[Counts]) -> dict[str, Any]:
        settings = _settings(told)
        each: dict[str, list[Any]] = {
            "accuracy": [m.correct for m in measured],
            **{name: [getattr(m, name) for m in measured]
               for name in ("tokens", "think_tokens", "truncated")},
            "no_answer": [m.outcome == "no_answer" for m in measured],
            "loops": [m.loop is not None for m in measured]}
        if settings.get("stop_at_cutoff") or settings.get("stop_loops"):
            each["stopped_early"] = [c.finish in ("cutoff", "loop") for c in told]
        else:  # the completions would have been the same without early stopping
            each["accuracy_no_cutoff"] = [m.full.correct for m in measured]
            each["tokens_no_cutoff"] = [m.full.tokens for m in measured]
        if any(c.rounds for c in told):
            each["first_round_tokens"] = [sum(c.rounds) for c in told]
        found: dict[str, Any] = {name: sum(map(float, values)) / len(values)
                                 for name, values in each.items()}
        if len(measured) > 1:
            right = sum(bool(m.correct) for m in measured)
            found |= {f"pass_at_{j}": pass_at(right, len(measured), j)
                      for j in PASS_AT if j <= len(measured)}
        found["drp"] = {**{name: doc[name] for name in ("id", "question", "answer", "dataset")},
            "completions": [{**m.model_dump(mode="json"), "finish": c.finish} for m, c
            in zip(measured, told, strict=True)], "protocol": self._protocol(settings),
            "run": {key: settings.get(key) for key in ("model", "adapter", "seed")}}
        if len(told) == 1 and told[0].finish is not None:
            found["finish_reason"] = "stop" if told[0].finish == "stop" else "length"
        return found

    def _protocol(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Everything the numbers depend on besides the weights; equal for comparable runs. What our
        own models report comes first; of others, only what was asked for is known."""
        kwargs, greedy = self.config.generation_kwargs or {}, self._greedy
        return {
            **self.protocol.model_dump(mode="json", exclude={"prompts_dir"} | (
                {"prefill"} if self.protocol.prefill is None else set())),
            "tokenizer": self._counter.name if self._counter else self.protocol.tokenizer,
            "temperature": settings.get("temperature", 0.0 if greedy else kwargs["temperature"]),
            "top_p": settings.get("top_p", None if greedy else kwargs.get("top_p")),
            "max_new_tokens": settings.get("max_new_tokens", kwargs.get("max_new_tokens")),
            "repeats": self.config.repeats,
            "thinking": settings.get("thinking", self.protocol.thinking),
            **{name: value for name, value in {
                "thinking_budget": settings.get("thinking_budget"), "offset": self._offset,
                "system_instruction": self.prompting.system_instruction}.items() if value},
            **{name: bool(settings.get(name)) for name in ("stop_at_cutoff", "stop_loops")},
            "prompts": self.prompting.prompts.evaluation_hash}


def _settings(told: list[Counts]) -> dict[str, Any]:
    return next((c.settings for c in told if c.settings), {})


def _counter(wanted: str, own: str | None) -> TokenCounter:
    """The protocol's counter. Without `qwen` it is the model's own, and one line says so."""
    try:
        return TokenCounter.load(own or "qwen" if wanted == "model" else wanted)
    except UserError as error:
        if wanted != "qwen" or own is None:
            raise
        counter = TokenCounter.load(own)
        say(f"{error}. Tokens are counted with the model's own tokenizer, {counter.name}: compare "
            "them with runs that were counted so")
        return counter
