"""Gemini's batch mode with an AI Studio key: half the price, within a day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.llm.batch_api import Creation, Limits, Status, none_here
from drp_plugin.llm.blame import explain, read_error
from drp_plugin.llm.gemini_client import KEY, GeminiTeacher, generation, read_response
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.llm.retry import Transient
from drp_plugin.redact import redact

_TOP_LEVEL = {"system_instruction", "safety_settings"}
_ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_EXPIRED", "JOB_STATE_CANCELLED",
          "JOB_STATE_PARTIALLY_SUCCEEDED"}
_LOOK_BACK = 1000
_RPC = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}
"""The HTTP statuses of google.rpc's codes."""


class GeminiBatch:
    """A `BatchApi` over a `GeminiTeacher`'s client."""

    # the documentation: an input file of at most 2 GB; no number of requests is named
    limits = Limits(requests=100_000, bytes=1_900_000_000)

    def __init__(self, teacher: GeminiTeacher) -> None:
        self._teacher = teacher
        self._client = teacher.client.aio

    async def _call(self, what: Any, meaning: Callable[[Any], Exception] | None = None) -> Any:
        async def attempt() -> Any:
            try:
                return await what()
            except (TimeoutError, UserError, Transient):
                raise
            except Exception as error:  # the HTTP library's own errors come through as they are
                raise (meaning or self._teacher._explain)(error) from None

        return await self._teacher.persistent.run(attempt)

    def _explain(self, error: Any) -> Exception:
        """What the failure of a call that begins something means."""
        if getattr(error, "code", None) in (404, 405):
            return none_here(self._teacher.name,
                             self._teacher._clean(f"HTTP {error.code}: {error.message or error}"))
        return self._teacher._explain(error)

    def line(self, key: str, request: Request) -> str:
        contents, config = generation(request)
        body: dict[str, Any] = {"contents": contents}
        if "safety_settings" in config:
            body["safetySettings"] = config["safety_settings"]
        if "system_instruction" in config:
            body["systemInstruction"] = {"parts": [{"text": config["system_instruction"]}]}
        body["generationConfig"] = {
            _camel(name): value if name == "response_json_schema" else _camels(value)
            for name, value in config.items() if name not in _TOP_LEVEL}
        return json.dumps({"key": key, "request": body})

    async def upload(self, file: Path, label: str) -> str:
        uploaded = await self._call(lambda: self._client.files.upload(
            file=str(file), config={"display_name": label, "mime_type": "application/jsonl"}),
            self._explain)
        return str(uploaded.name)

    async def create(self, uploaded: str, label: str) -> str:
        async def create() -> str:
            job = await self._client.batches.create(
                model=self._teacher.model, src=uploaded, config={"display_name": label})
            return str(job.name)

        creation = Creation(create, lambda: self._search(label), self._explain)
        return str(await self._call(creation.attempt))

    async def find(self, label: str) -> str | None:
        from google.genai import errors

        async def search() -> str | None:
            try:
                return await self._search(label)
            except errors.APIError as error:
                if error.code != 404:
                    raise
                return None  # where there is no batch API, there is no batch

        found: str | None = await self._call(search)
        return found

    async def _search(self, label: str) -> str | None:
        seen = 0
        async for job in await self._client.batches.list(config={"page_size": 100}):
            if job.display_name == label:
                return str(job.name)
            seen += 1
            if seen >= _LOOK_BACK:
                return None
        return None

    async def status(self, batch_id: str) -> Status:
        job = await self._known(lambda: self._client.batches.get(name=batch_id))
        if job is None:
            return Status("gone", 0, "the provider does not know it")
        state = job.state.name if job.state else "unknown"
        word = state.removeprefix("JOB_STATE_").lower()
        counts = getattr(job, "completion_stats", None)
        done = (getattr(counts, "successful_count", 0) or 0) if counts else 0
        if state in _ENDED:
            return Status("ended", done, word)
        if state != "JOB_STATE_FAILED":
            return Status("running", done, word)
        text = redact(str(job.error.message) if job.error else "it failed", self._teacher._key)
        quota = "quota" in text.lower() or "exhausted" in text.lower()
        return Status("too_large" if quota else "invalid", done, text)

    async def _known(self, what: Any) -> Any:
        """What a call comes to; None where the provider does not know what it is about."""
        from google.genai import errors

        async def attempt() -> Any:
            try:
                return await what()
            except errors.APIError as error:
                if error.code != 404:
                    raise
                return None

        return await self._call(attempt)

    async def fetch(self, batch_id: str, folder: Path) -> list[Path]:
        job = await self._known(lambda: self._client.batches.get(name=batch_id))
        name = job.dest.file_name if job is not None and job.dest else None
        content = await self._known(lambda: self._client.files.download(file=name)) \
            if name else None
        if content is None:
            return []
        # the server's name is no name for a file
        target = folder / f"{hashlib.sha256(batch_id.encode()).hexdigest()}.results.jsonl"
        target.write_bytes(content)
        return [target]

    def results(self, file: Path) -> Iterator[tuple[str, Reply | Exception]]:
        with open(file, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                    yield str(row["key"]), self._read(row)
                except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                    continue

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


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def _camels(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel(str(k)): _camels(v) for k, v in value.items()}
    return [_camels(v) for v in value] if isinstance(value, list) else value
