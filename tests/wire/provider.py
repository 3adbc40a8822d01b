"""A loopback server that speaks OpenAI's and Gemini's wire formats, live and batch, with faults.

Answers come from a teacher of ours (or a function), so what travels is real. It keeps count of
everything that it was asked, by the hash of what determines the answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from faults import Cut, Faults, alter
from starlette.applications import Starlette
from starlette.requests import Request as Http
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from drp_plugin.llm.messages import Message, Reply, Request, Sampling
from drp_plugin.teachers.serve import read_request

Answer = Callable[[Request], Awaitable[Reply]]


@dataclass
class BatchJob:
    """A batch of either provider."""

    id: str
    lines: list[dict[str, Any]]
    label: str
    polls: int = 0
    state: str = "running"
    output: str | None = None
    errors: str | None = None


class Provider:
    """The server. `url` is for the openai client, `gemini_url` for google-genai."""

    def __init__(self, answer: Answer, *, faults: Faults | None = None, latency_s: float = 0.0,
                 headers: Callable[[], dict[str, str]] = dict, polls: int = 1) -> None:
        self.answer, self.faults, self.latency_s = answer, faults or Faults(), latency_s
        self.headers, self.polls = headers, polls
        self.received = 0
        """Live requests that arrived, faults included."""
        self.answered: Counter[str] = Counter()
        """Answers given (live or batch) by request hash; content faults included."""
        self.bodies: list[dict[str, Any]] = []
        self.urls: list[str] = []
        """Path and query of every live request to OpenAI's or Azure's routes."""
        self.in_flight = self.peak = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, BatchJob] = {}
        self.batch_plan: Callable[[BatchJob, int], Any] | None = None
        """Fate of each line of a batch: ok, error, missing, half, or the response in its error
        file; by job and line number."""
        self.batch_end = "completed"
        self.lose_create_reply = 0
        """So many batch creations succeed, but their reply is cut off."""
        self.create_faults: list[int] = []
        """HTTP statuses of the next batch creations, which begin nothing."""
        self.no_batches = False
        """There is no batch API here."""
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None
        self.port = 0

    # -- running ------------------------------------------------------------------------

    def __enter__(self) -> Provider:
        config = uvicorn.Config(self.app(), host="127.0.0.1", port=self.port,
                                log_level="critical", lifespan="off", backlog=4096)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the loopback provider did not start")
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None and self._thread is not None
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def gemini_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> Starlette:
        return Starlette(routes=[
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/openai/deployments/{deployment}/chat/completions", self.chat,
                  methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/files", self.upload, methods=["POST"]),
            Route("/v1/files/{id}/content", self.content),
            Route("/v1/batches", self.create_batch, methods=["POST"]),
            Route("/v1/batches", self.list_batches),
            Route("/v1/batches/{id}", self.get_batch),
            Route("/v1/batches/{id}/cancel", self.get_batch, methods=["POST"]),
            Route("/upload/v1beta/files", self.gemini_upload, methods=["POST"]),
            Route("/upload/{id}", self.gemini_upload_data, methods=["POST"]),
            Route("/v1beta/models/{call:path}", self.gemini_model, methods=["POST"]),
            Route("/v1beta/batches", self.gemini_list),
            Route("/v1beta/batches/{id}", self.gemini_get),
            Route("/v1beta/files/{id}:download", self.content),
            Route("/download/v1beta/files/{id}:download", self.content),
        ])

    # -- answering ----------------------------------------------------------------------

    async def _reply(self, request: Request, model: str, fault: str | None) -> Reply:
        key = json.dumps([model, request.model_dump(mode="json")], sort_keys=True)
        self.answered[hashlib.sha256(key.encode()).hexdigest()] += 1
        reply = await self.answer(request)
        if fault == "empty":
            return reply.model_copy(update={"text": ""})
        if fault == "refusal":
            return reply.model_copy(update={"text": "I can't help with that.",
                                            "finish_reason": "refusal"})
        if fault == "length":
            return reply.model_copy(update={"text": reply.text[:len(reply.text) // 2],
                                            "finish_reason": "length"})
        if fault == "format":
            return reply.model_copy(update={"text": "Sure! Here is what I think about it."})
        return reply

    async def chat(self, http: Http) -> Response:
        self.received += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        self.urls.append(http.url.path + "?" + http.url.query)
        try:
            body = await http.json()
            self.bodies.append({k: v for k, v in body.items() if k != "messages"})
            fault = self.faults.next()
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            broken = await self.faults.response(fault, http, False)
            if broken is not None:
                return broken
            completion = alter(fault, await self._completion(body, fault),
                               http.headers.get("authorization", "").removeprefix("Bearer "))
            return Response(json.dumps(completion), media_type="application/json",
                            headers=self.headers())
        finally:
            self.in_flight -= 1

    async def _completion(self, body: dict[str, Any], fault: str | None) -> dict[str, Any]:
        reply = await self._reply(read_request(body), body["model"], fault)
        refused = reply.finish_reason == "refusal"
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "logprobs": None,
                         "finish_reason": "stop" if refused else reply.finish_reason,
                         "message": {"role": "assistant",
                                     "content": None if refused else reply.text,
                                     "refusal": reply.text if refused else None}}],
            "usage": {"prompt_tokens": reply.usage.prompt_tokens,
                      "completion_tokens": reply.usage.completion_tokens,
                      "total_tokens": 0},
        }

    async def models(self, http: Http) -> Response:
        refused = await self.faults.response(self.faults.next(), http, False)
        return refused or JSONResponse({"object": "list", "data": [
            {"id": "rules", "object": "model", "created": 1, "owned_by": "tests"}]})

    def _no_batch(self) -> Response | None:
        """Why no batch is begun or looked for here, if so."""
        if self.no_batches:
            return JSONResponse({"error": {"message": "Not Found", "code": 404}}, 404)
        return None

    def _no_creation(self) -> Response | None:
        if self.create_faults:
            status = self.create_faults.pop(0)
            return JSONResponse({"error": {"message": "no batch for you", "code": status}}, status)
        return self._no_batch()

    # -- OpenAI batch --------------------------------------------------------------------

    async def upload(self, http: Http) -> Response:
        if (refused := self._no_batch()) is not None:
            return refused
        body = await http.body()
        boundary = re.search(r"boundary=([^;]+)", http.headers["content-type"])
        assert boundary is not None
        content = b""
        for part in body.split(b"--" + boundary[1].strip('"').encode()):
            head, _, data = part.partition(b"\r\n\r\n")
            if b'name="file"' in head:
                content = data.removesuffix(b"\r\n")
        name = f"file-{uuid.uuid4().hex[:12]}"
        self.files[name] = content
        return JSONResponse({"id": name, "object": "file", "bytes": len(content), "created_at": 1,
                             "filename": "batch.jsonl", "purpose": "batch",
                             "status": "processed"})

    async def content(self, http: Http) -> Response:
        name = http.path_params["id"]
        if name not in self.files:
            return JSONResponse({"error": {"message": "No such File object", "code": 404}}, 404)
        return Response(self.files[name], media_type="application/octet-stream")

    async def create_batch(self, http: Http) -> Response:
        if (refused := self._no_creation()) is not None:
            return refused
        body = await http.json()
        lines = [json.loads(x) for x in self.files[body["input_file_id"]].splitlines()]
        assert len(lines) <= 50_000
        assert len({x["custom_id"] for x in lines}) == len(lines), "custom_ids must be unique"
        job = BatchJob(f"batch_{uuid.uuid4().hex[:12]}", lines,
                       json.dumps(body.get("metadata") or {}))
        self.batches[job.id] = job
        if self.lose_create_reply > 0:
            self.lose_create_reply -= 1
            return Cut()
        return JSONResponse(self._openai_batch(job))

    async def list_batches(self, http: Http) -> Response:
        return self._no_batch() or JSONResponse({"object": "list", "has_more": False, "data": [
            self._openai_batch(j) for j in reversed(self.batches.values())]})

    async def get_batch(self, http: Http) -> Response:
        job = self.batches.get(http.path_params["id"])
        if job is None:
            return JSONResponse({"error": {"message": "No batch found", "code": None}}, 404)
        await self._advance(job, gemini=False)
        return JSONResponse(self._openai_batch(job))

    def _openai_batch(self, job: BatchJob) -> dict[str, Any]:
        return {"id": job.id, "object": "batch", "endpoint": "/v1/chat/completions",
                "completion_window": "24h", "created_at": int(time.time()),
                "input_file_id": "file-x", "metadata": json.loads(job.label),
                "status": {"running": "in_progress"}.get(job.state, job.state),
                "output_file_id": job.output, "error_file_id": job.errors,
                "request_counts": {"total": len(job.lines), "completed": 0, "failed": 0}}

    async def _advance(self, job: BatchJob, *, gemini: bool) -> None:
        job.polls += 1
        if job.state != "running" or job.polls < self.polls:
            return
        good, bad = [], []
        for number, line in enumerate(job.lines):
            fate = self.batch_plan(job, number) if self.batch_plan else "ok"
            if fate == "missing":
                continue
            if gemini:
                good.append(await self._gemini_line(line, fate))
            elif isinstance(fate, dict):
                bad.append(json.dumps({"id": f"r{number}", "custom_id": line["custom_id"],
                                       "error": None, "response": fate}))
            elif fate == "error":
                bad.append(json.dumps({"id": f"r{number}", "custom_id": line["custom_id"],
                                       "response": None, "error": {
                                           "code": "batch_expired", "message": "expired"}}))
            else:
                body = await self._completion(line["body"], None if fate == "ok" else fate)
                text = json.dumps({"id": f"r{number}", "custom_id": line["custom_id"],
                                   "error": None, "response": {
                                       "status_code": 200, "request_id": "x", "body": body}})
                good.append(text[:len(text) // 2] if fate == "half" else text)
        random.Random(len(good)).shuffle(good)  # providers promise no order
        job.output = self._store(good) if good or gemini else None
        job.errors = self._store(bad) if bad else None
        job.state = self.batch_end

    def _store(self, lines: list[str]) -> str:
        name = f"file-{uuid.uuid4().hex[:12]}"
        self.files[name] = "".join(x + "\n" for x in lines).encode()
        return name

    # -- Gemini --------------------------------------------------------------------------

    async def gemini_model(self, http: Http) -> Response:
        model, _, call = http.path_params["call"].rpartition(":")
        body = await http.json()
        if call == "batchGenerateContent":
            return self._gemini_create(body["batch"])
        self.received += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            self.bodies.append({k: v for k, v in body.items() if k != "contents"})
            fault = self.faults.next()
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            broken = await self.faults.response(fault, http, True)
            return broken or JSONResponse(await self._gemini_content(body, model, fault))
        finally:
            self.in_flight -= 1

    async def _gemini_content(self, body: dict[str, Any], model: str,
                              fault: str | None) -> dict[str, Any]:
        config = body.get("generationConfig") or {}
        request = Request(
            messages=tuple(Message(role="assistant" if c.get("role") == "model" else "user",
                                   content="".join(p["text"] for p in c["parts"]))
                           for c in body["contents"]),
            sampling=Sampling(temperature=config.get("temperature"), seed=config.get("seed"),
                              max_tokens=config.get("maxOutputTokens")),
            json_schema=config.get("responseJsonSchema"))
        reply = await self._reply(request, model, fault)
        usage = {"promptTokenCount": reply.usage.prompt_tokens,
                 "candidatesTokenCount": reply.usage.completion_tokens}
        if reply.finish_reason == "refusal":
            return {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage}
        finish = {"stop": "STOP", "length": "MAX_TOKENS"}.get(reply.finish_reason, "OTHER")
        return {"candidates": [{"content": {"role": "model", "parts": [{"text": reply.text}]},
                                "finishReason": finish, "index": 0}],
                "usageMetadata": usage, "modelVersion": model}

    async def gemini_upload(self, http: Http) -> Response:
        if (refused := self._no_batch()) is not None:
            return refused
        name = f"f{uuid.uuid4().hex[:12]}"
        return JSONResponse({}, headers={
            "X-Goog-Upload-URL": f"{self.gemini_url}/upload/{name}",
            "X-Goog-Upload-Status": "active"})

    async def gemini_upload_data(self, http: Http) -> Response:
        name = http.path_params["id"]
        self.files[name] = self.files.get(name, b"") + await http.body()
        final = "finalize" in http.headers.get("x-goog-upload-command", "")
        return JSONResponse({"file": {"name": f"files/{name}", "uri": f"u/{name}",
                                      "mimeType": "application/jsonl", "state": "ACTIVE"}},
                            headers={"X-Goog-Upload-Status": "final" if final else "active"})

    def _gemini_create(self, batch: dict[str, Any]) -> Response:
        if (refused := self._no_creation()) is not None:
            return refused
        name = batch["inputConfig"]["fileName"].removeprefix("files/")
        lines = [json.loads(x) for x in self.files[name].splitlines()]
        job = BatchJob(uuid.uuid4().hex[:12], lines, batch.get("displayName", ""))
        self.batches[job.id] = job
        if self.lose_create_reply > 0:
            self.lose_create_reply -= 1
            return Cut()
        return JSONResponse(self._gemini_batch(job))

    async def _gemini_line(self, line: dict[str, Any], fate: str) -> str:
        if fate == "error":
            return json.dumps({"key": line["key"], "error": {"code": 13, "message": "internal"}})
        body = await self._gemini_content(line["request"], "m", None if fate == "ok" else fate)
        text = json.dumps({"key": line["key"], "response": body})
        return text[:len(text) // 2] if fate == "half" else text

    async def gemini_list(self, http: Http) -> Response:
        return self._no_batch() or JSONResponse({"operations": [self._gemini_batch(j)
                                            for j in reversed(self.batches.values())]})

    async def gemini_get(self, http: Http) -> Response:
        job = self.batches.get(http.path_params["id"])
        if job is None:
            return JSONResponse({"error": {"message": "not found", "code": 404,
                                           "status": "NOT_FOUND"}}, 404)
        await self._advance(job, gemini=True)
        return JSONResponse(self._gemini_batch(job))

    def _gemini_batch(self, job: BatchJob) -> dict[str, Any]:
        state = {"running": "BATCH_STATE_RUNNING", "completed": "BATCH_STATE_SUCCEEDED",
                 "expired": "BATCH_STATE_EXPIRED", "failed": "BATCH_STATE_FAILED"}[job.state]
        metadata: dict[str, Any] = {"state": state, "displayName": job.label,
                                    "createTime": "2026-01-01T00:00:00Z"}
        if job.output:
            metadata["output"] = {"responsesFile": f"files/{job.output}"}
        return {"name": f"batches/{job.id}", "metadata": metadata,
                "done": job.state != "running"}
