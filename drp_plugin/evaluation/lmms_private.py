"""All that touches parts of lmms-eval which it does not promise to keep; seen with 0.7.3. lmms-eval
has an entry point for models but none for tasks, and gives classes named in a YAML no access to the
run: two methods of its TaskManager are wrapped here (the search for tasks, and their loading), and
a task's instances, metrics and arguments are its own attributes."""

import argparse
import copy
import functools
import inspect
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.registry import get_aggregation
from lmms_eval.api.task import ConfigurableMessagesTask, ConfigurableTask

from drp_plugin.errors import UserError
from drp_plugin.evaluation.exchange import loudly
from drp_plugin.terminal import say

SEEN = "0.7.3"
_kind = "chat"


def add_tasks(folder: Path) -> None:
    """Have every TaskManager of this process find the tasks of a folder; once for all calls. Where
    lmms-eval has changed, one line says how to find them instead."""
    try:
        from lmms_eval.tasks import TaskManager

        find, load = TaskManager.initialize_tasks, TaskManager.load_task_or_group
    except (ImportError, AttributeError):
        _unknown(folder)
        return
    if getattr(find, "_drp", False):
        return

    @functools.wraps(find)
    def initialize_tasks(self: Any, *arguments: Any, **named: Any) -> Any:
        with loudly():
            _check_options()
        found = find(self, *arguments, **named)
        try:  # a name that lmms-eval or the user has already keeps its meaning
            return {**self._get_task_and_group(str(folder)), **found}
        except Exception:  # whatever fails here, runs of other tasks go on
            _unknown(folder)
            return found

    @functools.wraps(load)
    def load_task_or_group(self: Any, *arguments: Any, **named: Any) -> Any:
        global _kind
        _kind = named.get("task_type") or (arguments[1] if len(arguments) > 1 else "simple")
        return load(self, *arguments, **named)

    initialize_tasks._drp = True  # type: ignore[attr-defined]
    TaskManager.initialize_tasks = initialize_tasks
    TaskManager.load_task_or_group = load_task_or_group


def _check_options() -> None:
    """Read what a file (--config) gives as the command line would, such as `seed: 7`, and refuse
    what ends in lmms-eval with exit code 0. It shows its options to nothing else before it uses
    them: they are looked up in its own functions, where these are as expected."""
    found = {info.function: info.frame.f_locals for info in inspect.stack(0)}
    options = found.get("cli_evaluate_single", {}).get("args")
    parser = found.get("cli_evaluate", {}).get("parser")
    if getattr(options, "check_integrity", False):
        raise UserError("--check_integrity runs lmms-eval's own test suite, which its package does "
                        "not contain", fix="Leave it out")
    for action in parser._actions if parser and options else ():
        value = getattr(options, action.dest, None)
        if isinstance(value, dict):
            value = ",".join(f"{k}={v if isinstance(v, str) else json.dumps(v)}"
                             for k, v in value.items())
        elif action.dest == "seed" and (value is None or isinstance(value, list)):
            value = ",".join(map(str, value or [None]))
        elif not isinstance(value, str | int | float) or not action.type:
            continue
        try:
            setattr(options, action.dest, (action.type or str)(str(value)))
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise UserError(f"{action.dest}: {value} in the file of --config cannot be read",
                            fix=f"Write it as on the command line ({error})") from None


def _unknown(folder: Path) -> None:
    say(f"lmms-eval {version('lmms_eval')} is not as {SEEN}, which drp-plugin was written for; its "
        f"tasks are found with --include_path {folder}")


class TextTask(ConfigurableMessagesTask):  # type: ignore[misc]
    """A task that makes its own prompts, documents and metrics."""

    metrics: dict[str, bool] = {}  # noqa: RUF012
    """Their names, and whether more is better; each is a mean over the documents."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.kind = _kind  # `chat` or `simple`: what the model of the run takes
        super().__init__(config=config)

    @property
    def command_line(self) -> Any:
        """lmms-eval's parsed options, or None where there was no command line."""
        return getattr(self, "args", None)

    def build_all_requests(self, **settings: Any) -> None:
        told = self.prepare(settings)
        self.config.metadata.update(told)  # reaches the model with each request
        try:
            super().build_all_requests(**settings)
        finally:
            for name in told:
                self.config.metadata.pop(name)

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Check the options before anything is asked; returns the settings for the model."""
        return {}

    def construct_requests(self, doc_id: int, ctx: str, **kwargs: Any) -> Any:
        if self.kind != "chat":
            return ConfigurableTask.construct_requests(self, doc_id, ctx, **kwargs)
        arguments = (ctx, self.doc_to_messages, copy.deepcopy(self.config.generation_kwargs),
                     doc_id, self.config.task, kwargs["metadata"]["split"])
        return Instance(request_type=self.OUTPUT_TYPE, arguments=arguments, idx=0,
                        task_name=self.config.task, doc_id=doc_id, **kwargs)

    def answered(self) -> list[Instance]:
        """The requests with the model's replies (`resps`) and counts (`token_counts`)."""
        return list(self._instances)

    def _prepare_metric_and_aggregation(self) -> None:
        self._metric_fn_list: dict[str, Any] = dict.fromkeys(self.metrics)
        self._metric_fn_kwargs: dict[str, Any] = {name: {} for name in self.metrics}
        self._aggregation_list = dict.fromkeys(self.metrics, get_aggregation("mean"))
        self._higher_is_better = dict(self.metrics)
