"""Models, tokenizers and workspaces for the training tests, made once a session."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_models as tiny
import yaml

from drp_plugin.training.sft_set import SetSettings, build


@pytest.fixture(autouse=True)
def _environment_of_its_own() -> Iterator[None]:
    """A training in the test's own process sets variables (precision, FSDP's, WANDB_PROJECT), and
    `datasets` puts a copy in the place of os.environ."""
    environment, before = os.environ, dict(os.environ)
    yield
    os.environ = environment  # noqa: B003
    environment.clear()
    environment.update(before)


@pytest.fixture(scope="session")
def byte_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 with one token a byte and R1's control tokens."""
    folder = tmp_path_factory.mktemp("models") / "byte"
    return tiny.random_model(tiny.byte_tokenizer(folder))


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real Qwen byte-pair encoding with R1's control tokens, and the 7B model's config."""
    pytest.importorskip("dashscope")
    return tiny.config_only(tiny.qwen_tokenizer(tmp_path_factory.mktemp("models") / "qwen"))


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as a run directory's pruned.jsonl; returns the run directory."""
    def write(rows: list[dict], name: str = "run") -> Path:
        run = tmp_path / name
        run.mkdir(parents=True, exist_ok=True)
        (run / "pruned.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return run
    return write


@pytest.fixture
def good(tmp_path: Path, write_rows: Callable[..., Path], byte_model: Path) -> Callable[..., Path]:
    """A good data set and YAML for the random model; keywords change the YAML's settings."""
    def make(rows: list[dict] | None = None, **changes: object) -> Path:
        data = tmp_path / "data"
        build([write_rows(rows or tiny.rows(40))], data,
              SetSettings(name="good", prompt="eval_boxed"), replace_set=True)
        settings: dict[str, object] = {
            "model_name_or_path": str(byte_model), "stage": "sft", "do_train": True,
            "finetuning_type": "lora", "lora_target": "all", "lora_rank": 8, "lora_alpha": 16,
            "dataset": "good", "dataset_dir": str(data), "template": "deepseekr1",
            "cutoff_len": 1024, "output_dir": str(tmp_path / "out"), "report_to": "none",
            "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2,
            "learning_rate": 1e-3, "num_train_epochs": 1.0, "logging_steps": 1, "val_size": 0.05,
            "eval_strategy": "epoch", "save_strategy": "epoch", "use_cpu": True} | changes
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in settings.items() if v is not None}))
        return path
    return make


@pytest.fixture(scope="session")
def chatml_model(tmp_path_factory):
    """Qwen3's and QwQ's layout over one token a byte, with QwQ's prefilled <think>."""
    return tiny.random_model(tiny.byte_tokenizer(
        tmp_path_factory.mktemp("models") / "chatml", chat=tiny.chat_template("chat_chatml"),
        added=tiny.QWEN3_TOKENS, bos=None, eos="<|im_end|>", pad="<|endoftext|>"),
        vocab=320, bos=256, eos=258)
