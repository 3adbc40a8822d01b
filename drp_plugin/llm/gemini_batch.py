"""Gemini's batch mode with an AI Studio key: half the price, within a day."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.llm.batch_api import BatchApi, Limits, Status
from drp_plugin.llm.blame import explain, read_error
from drp_plugin.llm.gemini_client import KEY, camel, generation, read_response
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.llm.retry import Transient
from drp_plugin.redact import redact

_ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_EXPIRED", "JOB_STATE_CANCELLED",
          "JOB_STATE_PARTIALLY_SUCCEEDED"}
_RPC = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}
"""The HTTP statuses of google.rpc's codes."""


class GeminiBatch(BatchApi):
    """The batches of a `GeminiTeacher`."""

    # the documentation: an input file of at most 2 GB; no number of requests is named
    limits = Limits(requests=100_000, bytes=1_900_000_000)
    key_field = "key"

    def line(self, key: str, request: Request) -> str:
        contents, config = generation(request)
        body: dict[str, Any] = {"contents": contents}
        if "safety_settings" in config:
            body["safetySettings"] = config.pop("safety_settings")
        if "system_instruction" in config:
            body["systemInstruction"] = {"parts": [{"text": config.pop("system_instruction")}]}
        body["generationConfig"] = {
            camel(name): value if name == "response_json_schema" else _camels(value)
            for name, value in config.items()}
        return json.dumps({"key": key, "request": body})

    async def _upload(self, file: Path, label: str) -> str:
        return str((await self._teacher.client.aio.files.upload(file=str(file), config={
            "display_name": label, "mime_type": "application/jsonl"})).name)

    async def _begin(self, uploaded: str, label: str) -> str:
        return str((await self._teacher.client.aio.batches.create(
            model=self._teacher.model, src=uploaded, config={"display_name": label})).name)

    async def _listed(self) -> AsyncIterator[tuple[str | None, str]]:
        pages = await self._teacher.client.aio.batches.list(config={"page_size": 100})
        async for job in pages:
            yield job.display_name, str(job.name)

    async def _get(self, batch_id: str) -> Any:
        return await self._teacher.client.aio.batches.get(name=batch_id)

    def _status(self, batch: Any) -> Status:
        state = batch.state.name if batch.state else "unknown"
        counts = getattr(batch, "completion_stats", None)
        done = (getattr(counts, "successful_count", 0) or 0) if counts else 0
        if state != "JOB_STATE_FAILED":
            return Status("ended" if state in _ENDED else "running", done,
                          state.removeprefix("JOB_STATE_").lower())
        text = redact(str(batch.error.message) if batch.error else "it failed",
                      self._teacher._key)
        quota = "quota" in text.lower() or "exhausted" in text.lower()
        return Status("too_large" if quota else "invalid", done, text)

    def _files(self, batch: Any) -> Sequence[str | None]:
        return [batch.dest.file_name] if batch.dest else []

    async def _download(self, name: str, target: Path) -> bool:
        target.write_bytes(await self._teacher.client.aio.files.download(file=name))
        return True

    def _read(self, row: dict[str, Any]) -> Reply | Exception:
        if row.get("response"):
            try:
                return read_response(row["response"])
            except Transient as fault:
                return fault
        error = row.get("error") or row.get("status") or {}
        code = error.get("code")
        status = _RPC.get(code, code) if isinstance(code, int) else None
        return explain(read_error(status, {"error": error}), self._teacher.name, KEY)


def _camels(value: Any) -> Any:
    if isinstance(value, dict):
        return {camel(str(k)): _camels(v) for k, v in value.items()}
    return [_camels(v) for v in value] if isinstance(value, list) else value
