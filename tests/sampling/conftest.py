"""A random student for the sampling tests."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def random_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from random_student import make

    return make(tmp_path_factory.mktemp("models") / "student", eos_bias=0.3, context=1024,
                kv_heads=1)
