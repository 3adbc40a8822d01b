"""A teacher behind an OpenAI-compatible endpoint, for tests of the true client over HTTP."""

import time
import uuid
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Message, Reply, Request, Sampling, Teacher, TeacherError
from drp_plugin.terminal import say


def make_app(teacher: Teacher, *, model: str = "offline-rules", delay_s: float = 0.0) -> Any:
    """A Starlette app that answers `/v1/chat/completions` and `/v1/models` by `teacher`. `delay_s`
    is added to every answer, as a real model's latency would be."""
    import asyncio

    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    def wrong(text: str, status: int = 400, param: str | None = None) -> JSONResponse:
        return JSONResponse({"error": {"message": text, "type": "invalid_request_error",
                                       "param": param, "code": None}}, status)

    async def models(_: HttpRequest) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [
            {"id": model, "object": "model", "created": 0, "owned_by": "drp-plugin"}]})

    async def complete(http: HttpRequest) -> JSONResponse:
        try:
            body = await http.json()
            request = read_request(body)
        except (ValueError, KeyError, TypeError) as error:
            return wrong(f"not a chat completion request: {error}")
        if body.get("model") != model:
            return wrong(f"the model {body.get('model')!r} does not exist; here is {model!r}", 404,
                         "model")
        if body.get("stream"):
            return wrong("streaming is not supported", param="stream")
        await asyncio.sleep(delay_s)
        try:
            return JSONResponse(_completion(await teacher.ask(request), model))
        except TeacherError as error:
            return wrong(str(error), 500)

    return Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"]),
                             Route("/v1/models", models)])


def _completion(reply: Reply, model: str) -> dict[str, Any]:
    finish = {"refusal": "content_filter", "other": "stop"}.get(
        reply.finish_reason, reply.finish_reason)
    prompted, said = reply.usage.prompt_tokens, reply.usage.completion_tokens
    usage = {"prompt_tokens": prompted, "completion_tokens": said, "total_tokens": prompted + said}
    message = {"role": "assistant", "content": reply.text, "refusal": None}
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "model": model,
            "created": int(time.time()), "usage": usage, "choices": [
            {"index": 0, "finish_reason": finish, "logprobs": None, "message": message}]}


def read_request(body: dict[str, Any]) -> Request:
    """A chat completion's body as a request. Raises KeyError, TypeError or ValueError."""
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    messages = [(m["role"], m["content"]) for m in body["messages"]]
    return Request(
        messages=tuple(Message(
            role="system" if role == "developer" else role,
            content="".join(part.get("text", "") for part in said)  # content parts
            if isinstance(said, list) else str(said)) for role, said in messages),
        sampling=Sampling(temperature=body.get("temperature"), top_p=body.get("top_p"),
                          seed=body.get("seed"),
                          max_tokens=body.get("max_completion_tokens") or body.get("max_tokens")),
        json_schema=schema)


def serve(teacher: Teacher, *, host: str, port: int, model: str, delay_s: float = 0.0) -> None:
    """Serve until interrupted. Raises UserError when the port is taken."""
    import socket

    import uvicorn

    app = make_app(teacher, model=model, delay_s=delay_s)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, TypeError, UnicodeError) as error:
            raise UserError(f"{host}:{port}: {getattr(error, 'strerror', None) or error}",
                            fix="Give another --host or --port") from None
    say(f"offline rules (no model) at http://{host}:{port}/v1 as {model!r}; Ctrl-C ends it")
    uvicorn.run(app, host=host, port=port, log_level="warning")
