"""ThinkPrune (Hou et al., 2025), the reinforcement-learning baseline of §4.3, with TRL's GRPO.

    python recipes/thinkprune/train.py CONFIG.yaml [KEY=VALUE]...
    accelerate launch --num_processes 4 recipes/thinkprune/train.py CONFIG.yaml

GRPO with reward 1 for a correct answer within the limit L, else 0, while L falls from stage to
stage, each from the last one's checkpoint. Run it again after an interruption: finished stages are
kept, the unfinished one goes on from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reward import length_limited_reward
from settings import Config, load_questions, read_config

from drp_plugin import hub
from drp_plugin.errors import UserError, install, refusal
from drp_plugin.jsonl import replacing
from drp_plugin.records import Question

RUN = "run.json"
"""In a stage's folder: what it learns from, so that it never goes on with something else."""


def require() -> None:
    """Raises UserError when TRL is not installed."""
    try:
        import peft  # noqa: F401
        import trl  # noqa: F401
    except ImportError as error:
        raise UserError(f"ThinkPrune needs TRL ({error})",
                        fix=install("rl")) from None


def messages(config: Config, question: str, limit: int) -> list[dict[str, str]]:
    """What the student is asked: its limit, then the question."""
    text = f"{question}\n{config.instruction}" if config.instruction else question
    asked = [{"role": "user", "content": text}]
    if config.system_prompt:
        asked.insert(0, {"role": "system",
                         "content": config.system_prompt.format(limit=limit)})
    return asked


def _load(config: Config, before: Path | None) -> Any:
    """The student, or what the stage before made of it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if config.bf16 else torch.float32
    if before is not None and not config.lora_rank:
        return AutoModelForCausalLM.from_pretrained(before, dtype=dtype)
    model = AutoModelForCausalLM.from_pretrained(config.model, dtype=dtype)
    return PeftModel.from_pretrained(model, before, is_trainable=True) if before else model


def _same_run(folder: Path, config: Config, questions: Sequence[Question],
              before: Path | None) -> dict[str, Any]:
    """What the stage in `folder` learns from; raises UserError where it has begun with other."""
    asked = "".join(f"{q.question}\0{q.answer}\0" for q in questions)
    now = {**config.learns(), "after": before.name if before else None,
           "questions": hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()}
    begun = folder / RUN
    if not begun.is_file():
        return now
    then = json.loads(begun.read_text(encoding="utf-8"))
    changed = [key for key in now if then.get(key) != now[key]]
    if changed:
        raise UserError(f"was begun with other settings ({', '.join(changed)})", file=folder,
                        fix="Take another output_dir, or the settings of then")
    return now


def _training(config: Config, folder: Path, number: int, limit: int) -> Any:
    """TRL's settings of one stage."""
    from trl import GRPOConfig

    arguments: dict[str, Any] = {
        "output_dir": str(folder), "max_steps": config.steps,
        "per_device_train_batch_size": config.per_device_batch,
        "num_generations": config.group_size, "learning_rate": config.learning_rate,
        "lr_scheduler_type": "constant", "beta": config.beta, "epsilon": config.clip,
        "temperature": config.temperature, "max_completion_length": limit,
        "loss_type": "bnpo",
        # a cut completion must count as wrong: masking it would take the pressure away
        "mask_truncated_completions": False,
        "bf16": config.bf16, "use_cpu": config.use_cpu, "use_vllm": config.use_vllm,
        "vllm_mode": config.vllm_mode, "vllm_gpu_memory_utilization": config.vllm_memory,
        "save_steps": config.save_steps, "save_total_limit": 2,
        "logging_steps": config.logging_steps, "report_to": config.report_to,
        "seed": config.seed + number, "gradient_checkpointing": not config.use_cpu,
    }
    if any(field.name == "max_prompt_length" for field in dataclasses.fields(GRPOConfig)):
        arguments["max_prompt_length"] = None  # or TRL before 0.29 cuts long questions
    world = GRPOConfig(**{**arguments, "per_device_train_batch_size": config.group_size}).world_size
    return GRPOConfig(**arguments, gradient_accumulation_steps=config.accumulation(world))


def run_stage(config: Config, questions: Sequence[Question], number: int, limit: int,
              before: Path | None) -> Path:
    """Train one stage and return its folder; one that is done is not done again.

    A stage that was interrupted goes on from its last checkpoint. Raises UserError when the stage
    was begun with other settings or questions, or when the questions do not fill one step.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from transformers.trainer_utils import get_last_checkpoint
    from trl import GRPOTrainer

    folder = Path(config.output_dir) / f"stage{number}-{limit}"
    report = folder / "stage.json"
    learns = _same_run(folder, config, questions, before)
    if report.is_file():
        return folder
    if len(questions) < config.prompts_per_step:
        raise UserError(f"{len(questions)} questions do not fill a step of "
                        f"{config.prompts_per_step}", file=config.questions,
                        fix="Give more questions or a smaller prompts_per_step")
    tokenizer = AutoTokenizer.from_pretrained(config.model, padding_side="left")
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # generate takes no others
    training = _training(config, folder, number, limit)
    data = Dataset.from_list([
        {"prompt": messages(config, q.question, limit), "answer": q.answer, "dataset": q.dataset}
        for q in questions])
    lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha,
                      target_modules="all-linear", task_type="CAUSAL_LM") \
        if config.lora_rank and before is None else None
    trainer = GRPOTrainer(
        model=_load(config, before), args=training, train_dataset=data, peft_config=lora,
        processing_class=tokenizer, reward_funcs=length_limited_reward(tokenizer, limit))
    if trainer.is_world_process_zero():
        with replacing(folder / RUN) as file:
            json.dump(learns, file, indent=2)
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        history = [entry for entry in trainer.state.log_history if "reward" in entry]
        with replacing(report) as file:
            json.dump({"limit": limit, "steps": trainer.state.global_step, "history": [
                {"step": e["step"], "reward": e["reward"],
                 "mean_length": e.get("completions/mean_length"),
                 "clipped": e.get("completions/clipped_ratio")} for e in history]},
                file, indent=2)
    trainer.accelerator.wait_for_everyone()
    return folder


def run(config: Config, questions: Sequence[Question]) -> Path:
    """All stages in turn; returns the last one's folder, an adapter or a whole model.

    Raises UserError when the student cannot be had, and as `run_stage` does.
    """
    if why := hub.missing(config.model):
        raise UserError(why, fix="Check the setting `model`")
    before: Path | None = None
    for number, limit in enumerate(config.limits, start=1):
        before = run_stage(config, questions, number, limit, before)
    assert before is not None
    return before


def main(arguments: list[str]) -> int:
    """0 done, 2 the user's mistake."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__, end="")
        return 0 if arguments else 2
    try:
        config = read_config(Path(arguments[0]), arguments[1:])
        require()
        questions = load_questions(config.questions)
        print(f"{len(questions)} questions, limits {', '.join(map(str, config.limits))}",
              file=sys.stderr)
        print(run(config, questions))
    except (UserError, OSError) as error:
        print(f"drp: {refusal(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
