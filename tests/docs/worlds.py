"""What a page's commands find: traces, questions, evaluations, a hub's cache, and a server."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from blocks import blocks
from checkout import ROOT
from provider import Provider
from report.conftest import documents, write_run
from small_runs import KEY, traces
from starlette.requests import Request as Http
from starlette.responses import JSONResponse, Response
from tiny_models import BOS, EOS, chat_template, config_only

from drp_plugin.llm.messages import Reply, Request
from drp_plugin.teachers.offline import OfflineTeacher
from drp_plugin.tokens import qwen_file

__all__ = ["KEY", "Loopback", "world"]
PAPER = "models--deepseek-ai--DeepSeek-R1-Distill-Qwen-7B"


class Loopback(Provider):
    """The offline teacher under any model's name, but for MY_MODEL, a student that thinks in
    `reasoning_content`."""

    def __init__(self) -> None:
        teacher = OfflineTeacher()

        async def answer(request: Request) -> Reply:
            return await teacher.ask(request)

        super().__init__(answer)

    async def models(self, http: Http) -> Response:
        return JSONResponse({"object": "list", "data": [
            {"id": "MY_MODEL", "object": "model", "created": 1, "owned_by": "tests"}]})

    async def _completion(self, body: dict[str, Any], fault: str | None) -> dict[str, Any]:
        if body["model"] != "MY_MODEL":
            return await super()._completion(body, fault)
        a, b = map(int, re.findall(r"has (\d+)", body["messages"][-1]["content"]))
        return {"id": "1", "object": "chat.completion", "created": 1, "model": "MY_MODEL",
                "choices": [{"index": 0, "finish_reason": "stop", "message": {
                    "role": "assistant", "content": f"They have \\boxed{{{a + b}}} apples.",
                    "reasoning_content": f"Tom has {a} apples. Ann has {b}.\n\n{a} + {b} = {a + b}."
                    f"\n\nWait, let me check that. {a} + {b} is {a + b}. Yes."}}],
                "usage": {"prompt_tokens": 40, "completion_tokens": 60, "total_tokens": 100}}


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def _own(folder: Path) -> None:
    """Ten traces of the reader's own, ten in Parquet, and ten questions without a trace."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (shown,) = blocks(ROOT / "README.md", "json")
    mine = folder / "mine.jsonl"
    rows = [json.loads(shown.text) if row["id"] == "q3" else row for row in _rows(traces(mine, 10))]
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    other = traces(folder / "other.jsonl", 10, start=20)
    pq.write_table(pa.Table.from_pylist(_rows(other)), folder / "mine.parquet")
    asked = _rows(traces(other, 10, start=40))
    (folder / "questions.jsonl").write_text("".join(
        json.dumps({key: row[key] for key in ("id", "question", "answer")}) + "\n"
        for row in asked), "utf-8")
    other.unlink()


def _samples(file: Path) -> None:
    """Five samples for each of ten questions, the later ones longer."""
    rows = _rows(traces(file, 10, start=60))
    file.write_text("".join(json.dumps({**row, "response": row["response"].replace(
        "</think>", "Let me check again. Yes.\n" * more + "</think>")}) + "\n"
        for row in rows for more in range(5)), "utf-8")


def _hub(folder: Path) -> None:
    """The paper's student in a hub cache, without weights: its config, tokenizer and template."""
    snapshot = config_only(folder / "hub" / "hub" / PAPER / "snapshots" / "0")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0")
    shutil.copy(qwen_file(), snapshot / "tokenizer.json")
    (snapshot / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
        "pad_token": EOS, "model_max_length": 16384, "chat_template": chat_template()}))


def world(folder: Path) -> None:
    """Fill a page's folder."""
    _own(folder)
    for name, start in (("traces-gsm8k", 80), ("traces-prm12k", 100)):
        traces(folder / f"{name}.jsonl", 20, start=start)
    _samples(folder / "traces.jsonl")
    for name, words in (("base", 40), ("drp", 15), ("default", 25), ("s1", 12), ("s2", 14),
                        ("s3", 16)):
        write_run(folder / "evals", name, {
            task: documents(10, {1, 2}, words, noise=9) for task in ("drp_gsm8k", "drp_aime24")})
    _hub(folder)
