"""What lmms-eval loads by itself: the models, and with them the folder of tasks.

lmms-eval loads models of other packages before it looks for tasks, so loading ours also has it
search our folder (`lmms_private.add_tasks`). In every run of an environment that has this package,
also one of other tasks, that changes three things: the tasks of our folder are found, behind those
of lmms-eval and --include_path; two methods of its TaskManager are wrapped; and the model name
`hf`, lmms-eval's default for --model, which it does not have itself, means `drp_student`.
"""

from __future__ import annotations

from typing import Any

from drp_plugin.resources import resource

_HERE = "drp_plugin.evaluation"


def manifests() -> list[Any]:
    """The model manifests, for the entry point group `lmms_eval.models`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    register_tasks()
    return [
        ModelManifest("drp_hf", chat_class_path=f"{_HERE}.models.DrpHF"),
        ModelManifest("drp_vllm", chat_class_path=f"{_HERE}.models.DrpVLLM"),
        ModelManifest("drp_student", chat_class_path=f"{_HERE}.models.DrpStudent",
                      aliases=("hf",)),
    ]


def register_tasks() -> None:
    """Have every TaskManager of this process find our tasks."""
    from drp_plugin.evaluation.lmms_private import add_tasks

    add_tasks(resource("lmms_eval_tasks"))
