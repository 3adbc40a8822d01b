"""Gemini's batch mode with an AI Studio key: half the price, within a day."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from drp_plugin.llm.batch_api import Creation, Fault, Limits, Status, none_here
from drp_plugin.llm.gemini_client import GeminiTeacher, generation, read_response
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.llm.redact import redact
from drp_plugin.llm.retry import Transient

_TOP_LEVEL = {"system_instruction", "safety_settings"}
_ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_EXPIRED", "JOB_STATE_CANCELLED",
          "JOB_STATE_PARTIALLY_SUCCEEDED"}
_LOOK_BACK = 1000


class GeminiBatch:
    """A `BatchApi` over a `GeminiTeacher`'s client."""

    # the documentation: an input file of at most 2 GB; no number of requests is named
    limits = Limits(requests=100_000, bytes=1_900_000_000)

    def __init__(self, teacher: GeminiTeacher) -> None:
        self._teacher = teacher
        self._client = teacher.client.aio

    async def _call(self, what: Any, explain: Callable[[Any], Exception] | None = None) -> Any:
        from google.genai import errors

        async def attempt() -> Any:
            try:
                return await what()
            except errors.APIError as error:
                raise (explain or self._teacher._explain)(error) from None
            except (OSError, ValueError, KeyError) as error:
                raise Transient(self._teacher._clean(f"{type(error).__name__}: {error}")) from None
            except Exception as error:
                # the HTTP library's own errors: httpx or aiohttp, whichever is installed
                if type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore",
                                                            "httpcore2", "aiohttp"):
                    raise Transient(self._teacher._clean(str(error))) from None
                raise

        return await self._teacher.persistent.run(attempt)

    def _explain(self, error: Any) -> Exception:
        """What the failure of a call that begins something means."""
        if error.code in (404, 405):
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
        job = await self._call(lambda: self._client.batches.get(name=batch_id))
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

    async def fetch(self, batch_id: str, folder: Path) -> list[Path]:
        job = await self._call(lambda: self._client.batches.get(name=batch_id))
        name = job.dest.file_name if job.dest else None
        if not name:
            return []
        target = folder / f"{name.replace('/', '-')}.results.jsonl"
        content = await self._call(lambda: self._client.files.download(file=name))
        target.write_bytes(content)
        return [target]

    def results(self, file: Path) -> Iterator[tuple[str, Reply | Fault]]:
        with open(file, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                    yield str(row["key"]), self._read(row)
                except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                    continue

    def _read(self, row: dict[str, Any]) -> Reply | Fault:
        if row.get("response"):
            reply = read_response(row["response"])
            return reply if reply is not None else Fault("the reply holds no candidate", False)
        error = row.get("error") or row.get("status") or {}
        code = error.get("code")
        text = redact(f"{code}: {error.get('message') or 'no answer'}", self._teacher._key)
        # google.rpc codes: 3 invalid argument, 7 permission denied, 9 failed precondition
        return Fault(text, final=code in (3, 7, 9, 400, 403))


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def _camels(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel(str(k)): _camels(v) for k, v in value.items()}
    return [_camels(v) for v in value] if isinstance(value, list) else value
