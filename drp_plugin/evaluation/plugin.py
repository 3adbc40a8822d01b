"""What lmms-eval loads by itself: the models, and with them the folder of tasks.

lmms-eval has an entry point for models and none for tasks. It loads the former before it looks
for tasks, so loading ours also adds our folder to what its TaskManager searches. Nothing else
of lmms-eval is changed, and a folder given by --include_path still comes first.
"""

from __future__ import annotations

import functools
from typing import Any

from drp_plugin.resources import resource

_HERE = "drp_plugin.evaluation"


def manifests() -> list[Any]:
    """The model manifests, for the entry point group `lmms_eval.models`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    register_tasks()
    return [
        ModelManifest("drp_hf", chat_class_path=f"{_HERE}.drp_hf.DrpHF"),
        ModelManifest("drp_vllm", chat_class_path=f"{_HERE}.drp_vllm.DrpVLLM"),
        # lmms-eval's default for --model is "hf", which it does not have itself
        ModelManifest("drp_student", chat_class_path=f"{_HERE}.default.DrpStudent",
                      aliases=("hf",)),
    ]


def register_tasks() -> None:
    """Have every TaskManager of this process find our tasks; once, however often called."""
    from lmms_eval.tasks import TaskManager

    index = TaskManager.initialize_tasks
    if getattr(index, "_drp", False):
        return

    @functools.wraps(index)
    def initialize_tasks(self: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
        found: dict[str, Any] = index(self, *arguments, **named)
        ours = self._get_task_and_group(str(resource("lmms_eval_tasks")))
        return {**ours, **found}  # what lmms-eval or the user has under a name stays

    load = TaskManager.load_task_or_group

    @functools.wraps(load)
    def load_task_or_group(self: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
        # classes named in a YAML are not told which kind of model the run has
        from drp_plugin.evaluation.stop import loudly

        with loudly():
            from drp_plugin.evaluation.task import DRPTask
        kind = named.get("task_type") or (arguments[1] if len(arguments) > 1 else "simple")
        DRPTask.model_kind = kind
        tasks: dict[str, Any] = load(self, *arguments, **named)
        return tasks

    initialize_tasks._drp = True  # type: ignore[attr-defined]
    TaskManager.initialize_tasks = initialize_tasks
    TaskManager.load_task_or_group = load_task_or_group
