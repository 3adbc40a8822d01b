"""The task class behind every YAML of `lmms_eval_tasks/`: the paper's protocol (§4.2, §4.6)."""

from __future__ import annotations

import copy
import threading
from typing import Any

from lmms_eval.api.registry import get_aggregation
from lmms_eval.api.task import ConfigurableMessagesTask, ConfigurableTask

from drp_plugin.errors import UserError
from drp_plugin.evaluation.counts import Counts
from drp_plugin.evaluation.stop import loudly
from drp_plugin.evaluation.task_protocol import Prompting, TaskProtocol
from drp_plugin.llm.messages import Message
from drp_plugin.sampling.questions import load
from drp_plugin.scoring import Measured, measure_many
from drp_plugin.tokens import TokenCounter

METRICS = {
    "accuracy": True, "accuracy_no_cutoff": True, "tokens": False, "tokens_no_cutoff": False,
    "think_tokens": False, "truncated": False, "no_answer": False, "loops": False,
    "pass_at_k": True, "stopped_early": False, "first_round_tokens": False,
}
"""Metrics, and whether more is better. Shares are between 0 and 1."""
_FAILED = "[LMMS_EVAL_REQUEST_FAILED"


class DRPTask(ConfigurableMessagesTask):  # type: ignore[misc]
    """A set of questions under a protocol; completions reach the scorer as they came.

    The YAML has, besides lmms-eval's own keys, `protocol:` (see `TaskProtocol`), and `variant:`,
    whose entries win over those of `protocol:`.
    """

    model_kind = "chat"
    """`chat` or `simple`: what the model of the run takes. Set when lmms-eval loads tasks."""

    def __init__(self, config: dict[str, Any]) -> None:
        config = {k: v for k, v in config.items() if k != "class"}
        own = {**config.pop("protocol", {}), **config.pop("variant", {})}
        self.kind = self.model_kind
        self._told: dict[str, list[Counts | None]] = {}
        self._earlier: dict[str, list[list[str]]] = {}
        self._counter: TokenCounter | None = None
        self._lock = threading.Lock()
        with loudly():
            self.protocol = TaskProtocol.parse(own, str(config.get("task")))
            self.prompting = Prompting(self.protocol)
            metadata = {"version": 1.0, "prompt": self.protocol.prompt,
                        "protocol": self.protocol.model_dump(mode="json")}
            super().__init__(config={**config, "metadata": metadata})

    # -- documents ---------------------------------------------------------------------------

    def download(self, dataset_kwargs: Any = None) -> None:
        """Load the questions; called by the parent's constructor."""
        from datasets import Dataset, DatasetDict

        rows = [row.model_dump() for row in load(self.protocol.questions)]
        self.dataset = DatasetDict({self.config.test_split: Dataset.from_list(rows)})
        self.dataset_no_image = self.dataset

    def doc_to_text(self, doc: dict[str, Any], *_: Any, **__: Any) -> str:
        """The first round as one text, for models that take no messages."""
        return "\n\n".join(m.content for m in self.prompting.first(doc["question"]))

    def doc_to_target(self, doc: dict[str, Any], *_: Any, **__: Any) -> str:
        return str(doc["answer"])

    def doc_to_visual(self, doc: dict[str, Any], *_: Any, **__: Any) -> list[Any]:
        return []

    def fewshot_context(self, doc: dict[str, Any], *_: Any, **__: Any) -> str:
        return self.doc_to_text(doc)

    def doc_to_messages(self, doc: dict[str, Any], *, round_idx: int | None = None,
                        previous_output: Any = None, previous_round_info: Any = None) -> Any:
        """lmms-eval's protocol for one and for several rounds."""
        if not round_idx:
            first = _content(self.prompting.first(doc["question"]))
            return first if round_idx is None else (first, False, previous_output, None)
        if round_idx >= self.prompting.rounds:
            return None, True, previous_output, None
        second = self.prompting.second(doc["question"], previous_output[-1])
        return _content(second), False, previous_output, None

    def build_all_requests(self, **settings: Any) -> None:
        # the model keeps finished completions beside the results
        output = getattr(getattr(self, "args", None), "output_path", None)
        self.config.metadata["output_path"] = output
        try:
            super().build_all_requests(**settings)
        finally:
            self.config.metadata.pop("output_path")

    def construct_requests(self, doc_id: int, ctx: str, **kwargs: Any) -> Any:
        if self.kind != "chat":
            return ConfigurableTask.construct_requests(self, doc_id, ctx, **kwargs)
        split = kwargs["metadata"]["split"]
        arguments = (ctx, self.doc_to_messages, copy.deepcopy(self.config.generation_kwargs),
                     doc_id, self.config.task, split)
        from lmms_eval.api.instance import Instance

        return Instance(request_type=self.OUTPUT_TYPE, arguments=arguments, idx=0,
                        task_name=self.config.task, doc_id=doc_id, **kwargs)

    # -- results -----------------------------------------------------------------------------

    def apply_filters(self) -> None:
        """Keep every repeat, unchanged, with what the model told about it."""
        with loudly():
            for instance in self._instances:
                # of several rounds the last one is the completion
                replies = [r[-1] if isinstance(r, list) else r for r in instance.resps]
                failed = [r for r in replies if not isinstance(r, str) or r.startswith(_FAILED)]
                if failed or not replies:
                    raise UserError(f"task {self.config.task}: the model gave no completion for "
                                    f"question {instance.doc_id} ({str(failed or None)[:120]})",
                                    fix="Nothing was scored. Run the same command again")
                doc = self.task_docs[instance.doc_id]
                self._earlier[doc["id"]] = [r[:-1] for r in instance.resps if isinstance(r, list)]
                instance.resps = instance.filtered_resps["none"] = replies
                self._told[doc["id"]] = [
                    c if isinstance(c, Counts) else None for c in instance.token_counts]

    def process_results(self, doc: dict[str, Any], results: list[Any],
                        full_docs: Any = None) -> dict[str, Any]:
        """The metrics of one question, and under `drp` all that they were computed from."""
        if "bypass" in self._metric_fn_list:
            return {"bypass": 0}
        with loudly():
            replies = results[0] if results and isinstance(results[0], list) else results
            told = self._told.get(doc["id"]) or [None] * len(replies)
            measured = self._measure(doc, replies, told)
            return self._metrics(doc, measured, told)

    def _measure(self, doc: dict[str, Any], replies: list[str],
                 told: list[Counts | None]) -> list[Measured]:
        n = len(replies)
        ended = [c is None or c.finish in (None, "stop") for c in told]
        return measure_many(replies, [doc["answer"]] * n, [doc["dataset"]] * n,
                            self._tokens(told), self.protocol.cutoff,
                            backend_tokens=[c.output_tokens if c else None for c in told],
                            thinking=self.protocol.thinking, ended=ended)

    def _tokens(self, told: list[Counts | None]) -> TokenCounter:
        with self._lock:
            if self._counter is None:
                own = next((c.tokenizer for c in told if c and c.tokenizer), None)
                self._counter = _counter(self.protocol.tokenizer, own)
            return self._counter

    def _metrics(self, doc: dict[str, Any], measured: list[Measured],
                 told: list[Counts | None]) -> dict[str, Any]:
        settings = next((c.settings for c in told if c), {})
        early = bool(settings.get("stop_at_cutoff") or settings.get("stop_loops"))

        def mean(values: list[Any]) -> float:
            return sum(float(v) for v in values) / len(values)

        found: dict[str, Any] = {
            "accuracy": mean([m.correct for m in measured]),
            "tokens": mean([m.tokens for m in measured]),
            "think_tokens": mean([m.think_tokens for m in measured]),
            "truncated": mean([m.truncated for m in measured]),
            "no_answer": mean([m.outcome == "no_answer" for m in measured]),
            "loops": mean([m.loop is not None for m in measured]),
        }
        if early:  # what the completions would have been without is not known
            found["stopped_early"] = mean([bool(c and c.finish in ("cutoff", "loop"))
                                           for c in told])
        else:
            found["accuracy_no_cutoff"] = mean([m.full.correct for m in measured])
            found["tokens_no_cutoff"] = mean([m.full.tokens for m in measured])
        if len(measured) > 1:
            found["pass_at_k"] = float(any(m.correct for m in measured))
        if any(c and c.rounds for c in told):
            found["first_round_tokens"] = mean([sum(c.rounds) if c else 0 for c in told])
        completions = [
            {**m.model_dump(mode="json"), "finish": c.finish if c else None}
            for m, c in zip(measured, told, strict=True)]
        found["drp"] = {"id": doc["id"], "question": doc["question"], "answer": doc["answer"],
                        "dataset": doc["dataset"], "completions": completions,
                        "protocol": self._protocol(settings)}
        if earlier := self._earlier.get(doc["id"]):
            found["drp"]["earlier_rounds"] = earlier
        if len(told) == 1 and told[0] is not None and told[0].finish is not None:
            found["finish_reason"] = "stop" if told[0].finish == "stop" else "length"
        return found

    def _protocol(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Everything the numbers depend on besides the weights; equal for comparable runs.

        What our own models did stands before what was asked of the others.
        """
        kwargs = self.config.generation_kwargs or {}
        greedy = not kwargs.get("do_sample", True) or not kwargs.get("temperature")
        return {
            **self.protocol.model_dump(mode="json", exclude={"prompts_dir"}),
            "tokenizer": self._counter.name if self._counter else self.protocol.tokenizer,
            "temperature": settings.get("temperature", 0.0 if greedy else kwargs["temperature"]),
            "top_p": settings.get("top_p", None if greedy else kwargs.get("top_p")),
            "max_new_tokens": settings.get("max_new_tokens", kwargs.get("max_new_tokens")),
            "repeats": self.config.repeats,
            "stop_at_cutoff": bool(settings.get("stop_at_cutoff")),
            "stop_loops": bool(settings.get("stop_loops")),
            "prompts": self.prompting.prompts.evaluation_hash,
        }

    def _prepare_metric_and_aggregation(self) -> None:
        mean = get_aggregation("mean")
        self._metric_fn_list: dict[str, Any] = dict.fromkeys(METRICS)
        self._metric_fn_kwargs: dict[str, Any] = {name: {} for name in METRICS}
        self._aggregation_list = dict.fromkeys(METRICS, mean)
        self._higher_is_better = dict(METRICS)


def _content(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    return [{"role": m.role, "content": [{"type": "text", "text": m.content}]} for m in messages]


def _counter(wanted: str, own: str | None) -> TokenCounter:
    """The protocol's counter; the model's own where `qwen` cannot be had (R1-Distill-Qwen's counts
    the same)."""
    if wanted == "model":
        return TokenCounter.load(own or "qwen")
    try:
        return TokenCounter.load(wanted)
    except UserError:
        if wanted != "qwen" or own is None:
            raise
        return TokenCounter.load(own)
