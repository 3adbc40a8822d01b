"""What a reader meets in a message, a file or a folder is on the page that lists such things."""

from __future__ import annotations

import re

import pytest
import yaml
from checkout import ROOT
from click.testing import CliRunner

from drp_plugin.cli import COMMANDS, group
from drp_plugin.records import Reason
from drp_plugin.training.sources import Why


def named(*pages: str) -> set[str]:
    """All that stands in backticks on these pages."""
    text = "\n".join((ROOT / page).read_text("utf-8") for page in pages)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", prose))


def yaml_of(name: str) -> dict[str, dict[str, str]]:
    return yaml.safe_load((ROOT / "drp_plugin" / "data" / name).read_text("utf-8"))


def findings() -> set[str]:
    told = yaml_of("preflight.yaml")
    return {code.partition(":")[0] for level in ("error", "warning") for code in told[level]}


def recipes() -> set[str]:
    return {path.stem for path in (ROOT / "recipes").glob("*.yaml")}


def tasks() -> set[str]:
    """Tasks and groups, without suffixes and the sets of the toy's training questions."""
    files = [path for path in (ROOT / "lmms_eval_tasks").glob("*.yaml")
             if not re.search(r"_(sampled|answer|tale|thinkprune|nothinking|steps\d)\.", path.name)]
    assert len(files) > 10
    return {"drp" if path.stem == "drp" else path.stem if path.stem.startswith("drp_")
            else f"drp_{path.stem}" for path in files}


@pytest.mark.parametrize(("listed", "pages"), [
    pytest.param({str(r) for r in Reason}, ["docs/pruning.md", "docs/inputs.md", "docs/methods.md",
                                            "docs/faq.md"], id="reasons of rejects"),
    pytest.param({str(why) for why in Why}, ["docs/training.md"], id="rows left out of a set"),
    pytest.param(findings(), ["docs/training.md", "docs/students.md"], id="findings of drp check"),
    pytest.param(recipes(), ["docs/experiments.md"], id="experiments"),
    pytest.param(tasks(), ["docs/evaluation.md"], id="tasks"),
    pytest.param(set(yaml_of("methods.yaml")["methods"]), ["docs/methods.md"], id="methods")])
def test_all_of_a_closed_list_is_on_its_page(listed: set[str], pages: list[str]) -> None:
    assert listed - named(*pages) == set()


def test_help_names_every_experiment_and_main_help_every_command() -> None:
    told = CliRunner().invoke(group, ["experiment", "--help"]).output
    assert {name for name in recipes() if not re.search(rf"\b{name}\b", told)} == set()
    told = CliRunner().invoke(group, ["--help"]).output
    assert all(f"  {name} " in told for name in COMMANDS)
