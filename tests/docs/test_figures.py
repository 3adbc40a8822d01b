"""Every table of measured figures says which command or source they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks import PAGES
from figures import unsourced

TABLE = "| way | peak |\n|---|---|\n| one | 45 → 52 MB |\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_table_of_figures_names_its_command_or_source(page: Path) -> None:
    assert unsourced(page.read_text("utf-8")) == []


@pytest.mark.parametrize(("section", "missing"), [
    (TABLE, 1),
    ("Printed by `make bench`.\n\n" + TABLE, 0),
    ("```bash\npython benchmarks/scale.py\n```\n\n" + TABLE, 0),
    ("| way | peak | command |\n|---|---|---|\n| one | 45 MB | `python benchmarks/a.py` |\n", 0),
    ("From [the paper](https://arxiv.org/abs/2505.13975).\n\n" + TABLE, 0),
    ("| a | s a step |\n|---|---|\n| one | 4.8 |\n", 1),  # the unit is the column's
    ("| a | what |\n|---|---|\n| `x` | keeps 80 % of the steps |\n", 0),  # no figure, a meaning
    ("Set `drp_tiny`, `max_steps=2`.\n\n" + TABLE, 1),  # names, no commands
    ("Printed by `make bench`.\n\n## Another section\n\n" + TABLE, 1)])
def test_what_counts_as_named(section: str, missing: int) -> None:
    assert len(unsourced("# Page\n\n" + section)) == missing
