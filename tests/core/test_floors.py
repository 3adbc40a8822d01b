"""Each package imports from the floors below its own alone: the contract in pyproject.toml."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    if not LINTER.exists():
        pytest.skip("import-linter is not installed here")
    shutil.copytree(ROOT / "drp_plugin", tmp_path / "drp_plugin",
                    ignore=shutil.ignore_patterns("__pycache__", "model"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken(folder: Path) -> str:
    """What the linter says of a checkout whose contract does not hold; empty where it does."""
    done = subprocess.run([LINTER, "--no-cache"], cwd=folder, capture_output=True, text=True)
    return done.stdout if done.returncode else ""


def test_the_house_stands_and_a_planted_upward_import_is_found(copy: Path) -> None:
    assert broken(copy) == ""
    target = copy / "drp_plugin" / "llm" / "limiter.py"
    target.write_text(target.read_text() + "\n\nfrom drp_plugin.runner import job  # planted\n")
    assert "drp_plugin.llm is not allowed to import drp_plugin.runner" in broken(copy)


def test_two_packages_of_one_floor_do_not_import_each_other(copy: Path) -> None:
    target = copy / "drp_plugin" / "methods" / "__init__.py"
    target.write_text(target.read_text() + "\n\nimport drp_plugin.teachers.registry  # planted\n")
    assert "drp_plugin.methods is not allowed to import drp_plugin.teachers" in broken(copy)


def test_a_new_package_needs_a_floor(copy: Path) -> None:
    (copy / "drp_plugin" / "attic").mkdir()
    (copy / "drp_plugin" / "attic" / "__init__.py").write_text("")
    assert "attic" in broken(copy)


def test_no_name_is_used_twice() -> None:
    modules = [f for f in (ROOT / "drp_plugin").rglob("*.py") if not f.name.startswith("__")]
    names = [f.name for f in modules]
    assert sorted({n for n in names if names.count(n) > 1}) == []
    classes = [line.split()[1].split("(")[0].rstrip(":") for f in modules
               for line in f.read_text("utf-8").splitlines() if line.startswith("class ")]
    assert sorted({c for c in classes if classes.count(c) > 1}) == []
