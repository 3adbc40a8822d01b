"""OpenAI's Batch API: half the price, within a day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from drp_plugin.llm.batch_api import Creation, Limits, Status, none_here
from drp_plugin.llm.blame import explain, read_error
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.llm.openai_client import OpenAITeacher, chat_body
from drp_plugin.redact import redact

ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_ENDED = {"completed", "expired", "cancelled"}
_LOOK_BACK = 1000


class OpenAIBatch:
    """A `BatchApi` over an `OpenAITeacher`'s client."""

    # the API reference: 50,000 requests and 200 MB a file
    limits = Limits(requests=50_000, bytes=200_000_000)

    def __init__(self, teacher: OpenAITeacher) -> None:
        self._teacher = teacher
        self._client = teacher.client

    async def _call(self, what: Any, meaning: Callable[[Any], Exception] | None = None) -> Any:
        """One API call with the client's errors explained, retried where that can help."""
        import openai

        async def attempt() -> Any:
            try:
                return await what()
            except (openai.OpenAIError, OSError, ValueError) as error:
                raise (meaning or self._teacher._explain)(error) from None

        return await self._teacher.persistent.run(attempt)

    def _explain(self, error: Any) -> Exception:
        """What the failure of a call that begins something means."""
        if getattr(error, "status_code", None) in (404, 405):
            return none_here(self._teacher.name,
                             self._teacher._clean(f"HTTP {error.status_code}: {error.message}"))
        return self._teacher._explain(error)

    def line(self, key: str, request: Request) -> str:
        body = chat_body(self._teacher.model, request, official=self._teacher.official)
        body.update(body.pop("extra_body", {}))
        return json.dumps({"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body})

    async def upload(self, file: Path, label: str) -> str:
        content = await self._call(
            lambda: self._client.files.create(file=file, purpose="batch"), self._explain)
        return str(content.id)

    async def create(self, uploaded: str, label: str) -> str:
        async def create() -> str:
            batch = await self._client.batches.create(
                input_file_id=uploaded, endpoint=ENDPOINT, completion_window="24h",
                metadata={"drp": label})
            return str(batch.id)

        creation = Creation(create, lambda: self._search(label), self._explain)
        return str(await self._call(creation.attempt))

    async def find(self, label: str) -> str | None:
        import openai

        async def search() -> str | None:
            try:
                return await self._search(label)
            except openai.NotFoundError:
                return None  # where there is no batch API, there is no batch

        found: str | None = await self._call(search)
        return found

    async def _search(self, label: str) -> str | None:
        seen = 0
        async for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get("drp") == label:
                return str(batch.id)
            seen += 1
            if seen >= _LOOK_BACK:  # newest first: ours is among the latest
                return None
        return None

    async def status(self, batch_id: str) -> Status:
        batch = await self._batch(batch_id)
        if batch is None:
            return Status("gone", 0, "the provider does not know it")
        counts = batch.request_counts
        done = (counts.completed + counts.failed) if counts else 0
        if batch.status in _ENDED:
            return Status("ended", done, batch.status)
        if batch.status != "failed":
            return Status("running", done, batch.status)
        errors = (batch.errors.data if batch.errors else None) or []
        text = redact("; ".join(str(e.message) for e in errors) or "it failed")
        if any("token_limit" in str(e.code) for e in errors):
            return Status("too_large", done, text)
        return Status("invalid", done, text)

    async def _batch(self, batch_id: str) -> Any:
        """The batch as the provider has it; None where it does not know it."""
        import openai

        async def retrieve() -> Any:
            try:
                return await self._client.batches.retrieve(batch_id)
            except (openai.NotFoundError, openai.BadRequestError):
                return None

        return await self._call(retrieve)

    async def fetch(self, batch_id: str, folder: Path) -> list[Path]:
        import openai

        batch = await self._batch(batch_id)
        names = (batch.output_file_id, batch.error_file_id) if batch is not None else ()
        files = []
        for number, name in enumerate(names):
            # the server's name is no name for a file
            target = folder / f"{hashlib.sha256(batch_id.encode()).hexdigest()}-{number}" \
                              ".results.jsonl"

            async def download(name: str | None = name, target: Path = target) -> bool:
                try:
                    streaming = self._client.files.with_streaming_response
                    async with streaming.content(str(name)) as response:
                        await response.stream_to_file(target)
                except openai.NotFoundError:
                    return False  # deleted, or past its time
                return True

            if name and await self._call(download):
                files.append(target)
        return files

    def results(self, file: Path) -> Iterator[tuple[str, Reply | Exception]]:
        with open(file, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                    yield str(row["custom_id"]), self._read(row)
                except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                    continue

    def _read(self, row: dict[str, Any]) -> Reply | Exception:
        response = row.get("response") or {}
        status = response.get("status_code")
        try:
            if status == 200:
                return self._teacher.read(response["body"])
        except Exception as fault:
            return fault
        return explain(read_error(status, response.get("body") or row.get("error") or {}),
                       self._teacher.name, self._teacher.variable)
