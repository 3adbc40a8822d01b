"""What lmms-eval loads by itself: the models, and with them the folder of tasks. lmms-eval loads
models of other packages before it looks for tasks, so loading ours also has it search our folder
(`lmms_private.add_tasks`), behind its own and --include_path. `hf`, lmms-eval's default for
--model, which it does not have itself, means `drp_student`."""

from typing import Any

from drp_plugin.resources import resource


def manifests() -> list[Any]:
    """The model manifests, for the entry point group `lmms_eval.models`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    from drp_plugin.evaluation.lmms_private import add_tasks

    add_tasks(resource("lmms_eval_tasks"))
    path, known = "drp_plugin.evaluation.models.", {"drp_hf": "DrpHF", "drp_vllm": "DrpVLLM"}
    return [*(ModelManifest(name, chat_class_path=path + made) for name, made in known.items()),
            ModelManifest("drp_student", chat_class_path=f"{path}DrpStudent", aliases=("hf",))]
