"""The recipes for clusters, run as a scheduler runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from small_runs import rows_of, traces

from drp_plugin.resources import resource


def test_a_slurm_array_and_its_merge(tmp_path, drp):
    traces(tmp_path / "t-1.jsonl", 3)
    traces(tmp_path / "t-2.jsonl", 2, start=3)
    own = tmp_path / "bin"
    own.mkdir()
    (own / "drp").write_text(f'#!/bin/sh\nexec {sys.executable} -m drp_plugin "$@"\n')
    (own / "drp").chmod(0o755)
    for task in (5, 6):
        subprocess.run(["bash", resource("recipes") / "slurm" / "prune.sbatch"], check=True, env={
            **os.environ, "PATH": f"{own}:{os.environ['PATH']}", "TRACES": f"{tmp_path}/t-*.jsonl",
            "RUN": str(tmp_path / "run"), "TEACHER": "offline", "DRP_OPTIONS": "--repairs 0",
            "SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_MIN": "5",
            "SLURM_ARRAY_TASK_COUNT": "2"})
    shards = sorted((tmp_path / "run").iterdir())
    assert [len(rows_of(shard)[0]) for shard in shards] == [3, 2]
    assert drp("merge", *shards, "-o", tmp_path / "whole").code == 0
    assert {row["id"] for row in rows_of(tmp_path / "whole")[0]} == {f"q{n}" for n in range(5)}


def test_the_ray_recipe_asks_for_what_generate_takes(tmp_path: Path) -> None:
    (tmp_path / "drp").write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    (tmp_path / "drp").chmod(0o755)
    said = subprocess.run(
        ["bash", resource("recipes") / "ray" / "generate.sh", "q.jsonl", "t.jsonl", "--seed", "1"],
        check=True, capture_output=True, text=True, env={
            **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "WORKERS": "3", "GPUS": "2"})
    assert said.stdout == ("generate|q.jsonl|-o|t.jsonl|--backend|ray|--engine-arg|workers=3|"
                           "--engine-arg|gpus=2|--seed|1|")
