"""What a ThinkPrune run is given: its settings, one YAML file, and its questions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from drp_plugin.errors import UserError, meant
from drp_plugin.grading import last_box
from drp_plugin.jsonl import explain
from drp_plugin.records import Question
from drp_plugin.sampling.questions import load

NUMINA = "numina_amc_aime"


class Config(BaseModel):
    """What a run does. Defaults are the method's own where it names them."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(),
                              allow_inf_nan=False)

    model: str
    """The student: a folder or hub name."""
    questions: str
    """What `drp generate` takes, or `numina_amc_aime` for the method's own data."""
    output_dir: str
    limits: tuple[int, ...] = Field((4000, 3000, 2000), min_length=1)
    """The length limit L of each stage, in tokens; every stage starts from the one before."""
    system_prompt: str = "The output of the assistant should be within {limit} tokens."
    """Tells the student its limit; empty leaves it out."""
    instruction: str = ""
    """Put behind every question, for instance to ask for a box."""
    steps: int = Field(100, ge=1)
    """Optimizer steps a stage."""
    prompts_per_step: int = Field(128, ge=1)
    group_size: int = Field(16, ge=2)
    """Completions of one question, compared with one another."""
    per_device_batch: int = Field(8, ge=1)
    """Completions in one forward pass on one device."""
    learning_rate: float = Field(1e-6, gt=0)
    beta: float = Field(0.001, ge=0)
    """Weight of the KL divergence from the student."""
    clip: float = Field(0.2, gt=0)
    temperature: float = Field(1.0, gt=0)
    lora_rank: int | None = Field(None, ge=1)
    """None trains all weights."""
    lora_alpha: int = 64
    bf16: bool = True
    use_cpu: bool = False
    use_vllm: bool = False
    """Rollouts by vLLM, on the same GPUs (`colocate`) or a server."""
    vllm_mode: str = Field("colocate", pattern="^(colocate|server)$")
    vllm_memory: float = Field(0.3, gt=0, lt=1)
    """Share of the GPU's memory that vLLM takes."""
    save_steps: int = Field(20, ge=1)
    logging_steps: int = Field(1, ge=1)
    report_to: str = "none"
    seed: int = 42

    @model_validator(mode="after")
    def _falling(self) -> Config:
        if list(self.limits) != sorted(self.limits, reverse=True) or min(self.limits) < 1:
            raise ValueError("limits must fall from stage to stage, as 4000, 3000, 2000")
        asked, group, batch = self.prompts_per_step, self.group_size, self.per_device_batch
        if asked * group % batch:
            raise ValueError(f"prompts_per_step x group_size is {asked} x {group} = "
                             f"{asked * group}, which is no multiple of per_device_batch {batch}")
        try:
            self.system_prompt.format(limit=1)
        except (KeyError, IndexError, ValueError):
            raise ValueError("system_prompt may hold {limit} and no other braces") from None
        return self

    def learns(self) -> dict[str, object]:
        """The settings that decide what is learnt; the others may change between two starts."""
        return self.model_dump(mode="json", exclude={
            "questions", "output_dir", "limits", "per_device_batch", "use_cpu", "use_vllm",
            "vllm_mode", "vllm_memory", "save_steps", "logging_steps", "report_to"})

    def accumulation(self, processes: int) -> int:
        """Forward passes before a step, so that each step sees all its completions.

        Raises UserError when they do not divide evenly among the processes.
        """
        total = self.prompts_per_step * self.group_size
        at_once = self.per_device_batch * processes
        if total % at_once:
            raise UserError(f"{total} completions a step cannot be shared by {processes} "
                            f"processes of {self.per_device_batch}",
                            fix="Change per_device_batch or prompts_per_step")
        return total // at_once


def read_config(path: Path, overrides: list[str]) -> Config:
    """The YAML with `key=value` overrides.

    Raises UserError, naming the file and the setting, when it cannot be used.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("no such file", file=path, fix="Check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read as YAML ({error})", file=path) from None
    if not isinstance(settings, dict):
        raise UserError("holds no settings", file=path)
    for override in overrides:
        key, equals, value = override.partition("=")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"the value of {override!r} is not YAML") from None
        if not key or not equals:
            raise UserError(f"{override!r} is not KEY=VALUE", fix="For example steps=50")
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        key = str((*error.errors()[0]["loc"], "")[0])
        near = "" if key in Config.model_fields else meant(key, Config.model_fields)
        raise UserError(explain(error), file=path,
                        fix=near or "See recipes/thinkprune for working files") from None


def from_numina(rows: Iterable[dict[str, Any]]) -> list[Question]:
    """The AMC and AIME part of NuminaMath-CoT, with the last box of the solution as gold answer.

    A solution without a box is left out: it cannot be graded. A question comes once.
    """
    found: dict[str, Question] = {}
    for number, row in enumerate(rows):
        if row.get("source") != "amc_aime":
            continue
        gold = last_box(str(row.get("solution") or ""))
        problem = str(row.get("problem") or "").strip()
        if gold and problem:
            found.setdefault(problem, Question(id=f"numina/{number}", question=problem,
                                               answer=gold, dataset="numina_amc_aime"))
    return list(found.values())


def load_questions(source: str) -> list[Question]:
    """Questions of a file, a set or NuminaMath; raises UserError when there is nothing to use."""
    if source == NUMINA:
        from datasets import load_dataset

        try:
            rows = load_dataset("AI-MO/NuminaMath-CoT", split="train")
        except Exception as error:
            raise UserError(f"AI-MO/NuminaMath-CoT cannot be loaded ({type(error).__name__})",
                            fix="Give a JSONL file with question and answer") from None
        return from_numina(rows)
    questions = [q for q in load(source) if q.answer]
    if not questions:
        raise UserError("no row has an `answer`", file=source,
                        fix="The reward needs the gold answer")
    return questions
