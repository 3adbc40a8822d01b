"""What holds for every method: pairs against the original, the page, and `drp check`'s shape."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest
from made_samples import sample

from drp_plugin.cli import main
from drp_plugin.methods import METHODS
from drp_plugin.student import model_path
from drp_plugin.training.preflight.rowchecks import faults

ARGUMENTS = {"RATIO": "0.5", "K": "2", "MODEL[@RATIO]": f"{model_path()}@0.5"}
ROWS = [sample(f"q{q}#{k}", 3 + 2 * k, question=f"In case {q}, how many are 2 and 3?")
        for q in range(2) for k in range(3)]
SPECS = [name + (colon and colon + ARGUMENTS.get(argument, ""))
         for name, colon, argument in (s.partition(":") for s in METHODS)
         if argument != "MODEL"]  # those that sample the student have their own test


@pytest.mark.parametrize("spec", SPECS)
def test_pairs_inspection_and_shape(prune, built, spec):
    if "@" in spec:
        pytest.importorskip("transformers")
    run = prune(ROWS, spec)
    assert run.pruned and run.summary["balanced"] and run.summary["rows"] == 6
    shorter = [r for r in run.pruned if r["response"] != r["original"]]
    chosen = {(p["conversations"][0]["value"], p["chosen"]["value"], p["rejected"]["value"])
              for p in built(run.folder, pairs=True)}
    assert chosen == {(r["question"], r["response"], r["original"]) for r in shorter}
    for row in run.pruned:
        assert row["teacher"] == spec and row["verdict"]["answer"]["ok"]
        assert faults(row["question"], row["response"], ()) == []
    page = run.folder / "page.html"
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(run.folder), "-o", str(page)])
    (packed,) = re.findall(r'id="run">([^<]+)<', page.read_text("utf-8"))
    shown = json.loads(gzip.decompress(base64.b64decode(packed)))["rows"]
    assert not ended.value.code and {r["id"] for r in run.pruned} <= {line[1] for line in shown}
