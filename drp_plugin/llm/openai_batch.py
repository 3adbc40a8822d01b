"""OpenAI's Batch API: half the price, within a day."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.llm.batch_api import BatchApi, Limits, Status
from drp_plugin.llm.blame import explain, read_error
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.llm.openai_client import chat_body
from drp_plugin.redact import redact

_ENDPOINT = "/v1/chat/completions"


class OpenAIBatch(BatchApi):
    """The batches of an `OpenAITeacher`."""

    # the API reference: 50,000 requests and 200 MB a file
    limits = Limits(requests=50_000, bytes=200_000_000)
    key_field, unknown = "custom_id", (400, 404)

    def line(self, key: str, request: Request) -> str:
        body = chat_body(self._teacher.model, request, official=self._teacher.official)
        return json.dumps({"custom_id": key, "method": "POST", "url": _ENDPOINT, "body": body})

    async def _upload(self, file: Path, label: str) -> str:
        return str((await self._teacher.client.files.create(file=file, purpose="batch")).id)

    async def _begin(self, uploaded: str, label: str) -> str:
        return str((await self._teacher.client.batches.create(
            input_file_id=uploaded, endpoint=_ENDPOINT, completion_window="24h",
            metadata={"drp": label})).id)

    async def _listed(self) -> AsyncIterator[tuple[str | None, str]]:
        async for batch in self._teacher.client.batches.list(limit=100):
            yield (batch.metadata or {}).get("drp"), str(batch.id)

    async def _get(self, batch_id: str) -> Any:
        return await self._teacher.client.batches.retrieve(batch_id)

    def _status(self, batch: Any) -> Status:
        counts = batch.request_counts
        done = (counts.completed + counts.failed) if counts else 0
        if batch.status != "failed":
            ended = batch.status in ("completed", "expired", "cancelled")
            return Status("ended" if ended else "running", done, batch.status)
        errors = (batch.errors.data if batch.errors else None) or []
        too_large = any("token_limit" in str(e.code) for e in errors)
        return Status("too_large" if too_large else "invalid", done,
                      redact("; ".join(str(e.message) for e in errors) or "it failed"))

    def _files(self, batch: Any) -> Sequence[str | None]:
        return batch.output_file_id, batch.error_file_id

    async def _download(self, name: str, target: Path) -> bool:
        streaming = self._teacher.client.files.with_streaming_response
        async with streaming.content(name) as response:
            await response.stream_to_file(target)
        return True

    def _read(self, row: dict[str, Any]) -> Reply | Exception:
        response = row.get("response") or {}
        status = response.get("status_code")
        try:
            if status == 200:
                return self._teacher.read(response["body"])  # type: ignore[no-any-return]
        except Exception as fault:
            return fault
        return explain(read_error(status, response.get("body") or row.get("error") or {}),
                       self._teacher.name, self._teacher.variable)
