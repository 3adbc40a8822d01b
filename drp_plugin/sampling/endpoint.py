"""The student behind OpenAI-compatible servers; several of them share the work."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.llm.addresses import check_address, find_key
from drp_plugin.llm.limiter import Limiter
from drp_plugin.llm.messages import Request, Sampling, TeacherError
from drp_plugin.llm.openai_client import KEY, RAW, OpenAITeacher, chat_body, read_completion
from drp_plugin.llm.retry import Persistent, Retries, Transient, Unusable, no_reply, stopping
from drp_plugin.sampling.completions import Completion, Failed, Outcome, Sampler, SampleRequest
from drp_plugin.thinking import join_response

CONCURRENCY = 64
"""Requests in flight at each server; vLLM queues what it cannot hold."""
_OWN = "skip_special_tokens"


class _Server(OpenAITeacher):
    """One server: asked as a teacher is, but its replies are a student's completions."""

    gone = False
    """Its last fault was that there was nobody to talk to."""
    plain = False
    """It takes no fields beyond OpenAI's own."""

    async def draw(self, request: SampleRequest, context: int | None) -> Completion:
        """Raises TeacherError where there is none to be had, Unusable where there never is."""
        # servers strip special tokens, and </think> is one in some tokenizers
        extra: dict[str, Any] = {} if self.official else {_OWN: False}
        if request.top_k:
            extra["top_k"] = request.top_k
        # vLLM refuses a limit over what its context has left; without one it takes the rest
        limit = request.limit if context is None or request.limit < context else None
        body = chat_body(self.model, Request(messages=request.messages, sampling=Sampling(
            temperature=request.temperature, top_p=request.top_p, seed=request.seed,
            max_tokens=limit, extra=extra)), official=self.official)
        return await self.persistent.run(lambda: self._posted(body, request), keep=True)

    async def _posted(self, body: dict[str, Any], request: SampleRequest) -> Completion:
        import openai
        from openai.types.chat import ChatCompletion

        if self.plain:
            body.pop(_OWN, None)
        try:
            raw: Any = await self.client.post("/chat/completions", body=body,
                                              cast_to=ChatCompletion, options={"headers": RAW})
            content = raw.http_response.content
        except openai.OpenAIError as error:
            if _OWN in body and _OWN in str(error):
                print(f"drp: {self.base_url} takes no {_OWN}: a </think> that is a special token "
                      "will be missing", file=sys.stderr, flush=True)
                self.plain = True
                return await self._posted(body, request)
            explained = self._explain(error)
            self.gone = isinstance(explained, Transient) and explained.unreachable
            raise explained from None
        try:
            value = json.loads(content)
            made = _completion(value, request)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise no_reply(self._clean(content[:2000].decode("utf-8", "replace"))) from None
        self.gone = False
        self.persistent.limiter.answered(raw.headers, made.prompt_tokens + made.tokens)
        return made


def _completion(value: dict[str, Any], request: SampleRequest) -> Completion:
    reply = read_completion(value)
    if reply.finish_reason not in ("stop", "length"):
        said = value["choices"][0].get("finish_reason")
        raise TeacherError(f"the server ended with {said!r}")
    message, text = value["choices"][0]["message"], reply.text
    thought = message.get("reasoning_content") or message.get("reasoning")
    if thought:  # the server has a reasoning parser: put the response together again
        text = join_response(thought, text) if text else thought
    stopped = reply.finish_reason == "stop"
    # servers count the stop token
    tokens = max(reply.usage.completion_tokens - stopped, 0)
    return Completion(text=text, tokens=tokens, prompt_tokens=reply.usage.prompt_tokens,
                      finish="stop" if stopped else request.cut(tokens))


class EndpointSampler(Sampler):
    """A model served by one or more OpenAI-compatible servers.

    `model` may be left out where the servers name one themselves. `timeout_s` is for a whole
    request; `retries` more attempts are made before another server is asked. The key is read
    from OPENAI_API_KEY; servers of one's own mostly need none. Raises UserError when a server
    does not answer or does not have the model.
    """

    def __init__(self, base_urls: Sequence[str], model: str | None = None, *,
                 concurrency: int = CONCURRENCY, timeout_s: float = 3600.0,
                 retries: int = 4) -> None:
        self.base_urls, self.concurrency = base_urls, concurrency
        self.timeout_s, self.retries = timeout_s, retries
        self._key = find_key(KEY) or "none"
        for url in base_urls:
            check_address(url)
        cards = [_card(url, self._key, model) for url in base_urls]
        self.model = str(cards[0]["id"])
        roots = {str(card.get("root") or card["id"]) for card in cards}
        if len(roots) > 1:
            raise UserError(f"the servers have different models: {', '.join(sorted(roots))}")
        self.context: int | None = min(
            (int(n) for card in cards if (n := card.get("max_model_len"))), default=None)
        self.identity = {"engine": "openai", "model": self.model, "root": roots.pop()}
        self._turn = itertools.count()
        self._halted = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: set[asyncio.Task[Outcome]] = set()

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
        """See `Sampler.sample`. Raises Unusable when no server can be asked any more."""
        results: queue.SimpleQueue[tuple[int, Outcome] | BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                asyncio.run(self._all(enumerate(requests), results))
                results.put(None)
            except BaseException as error:
                results.put(error)

        self._halted.clear()
        threading.Thread(target=work, daemon=True, name="endpoint").start()
        try:
            while (item := results.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.stop()

    def stop(self) -> bool:
        """See `Sampler.stop`: what is in flight comes in, the second time it is dropped."""
        self._halted.set()
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._cancel)
        return True

    def _cancel(self) -> None:
        for task in self._running:
            task.cancel()

    async def _all(self, waiting: Iterator[tuple[int, SampleRequest]], results: Any) -> None:
        self._loop = asyncio.get_running_loop()
        servers = [_Server(self.model, base_url=url, api_key=self._key, persistent=Persistent(
            Limiter(self.concurrency, start=self.concurrency), Retries(attempts=self.retries + 1),
            timeout_s=self.timeout_s, where=url)) for url in self.base_urls]
        index_of: dict[asyncio.Task[Outcome], int] = {}
        fatal: Unusable | None = None
        try:
            while True:
                free = self.concurrency * len(servers) - len(self._running)
                for index, request in itertools.islice(waiting, free):
                    task = asyncio.ensure_future(self._one(request, servers))
                    index_of[task] = index
                    self._running.add(task)
                    if self._halted.is_set():
                        task.cancel()
                        break
                if not self._running:
                    break
                done, self._running = await asyncio.wait(self._running,
                                                         return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    index = index_of.pop(task)
                    if task.cancelled():
                        continue
                    if isinstance(error := task.exception(), Unusable):
                        fatal = fatal or error
                        self.stop()
                    else:
                        results.put((index, task.result()))
                if self._halted.is_set():
                    waiting = iter(())
        finally:
            await asyncio.gather(*(server.close() for server in servers))
        if fatal is not None:
            raise fatal

    async def _one(self, request: SampleRequest, servers: list[_Server]) -> Outcome:
        """From the next server in turn, or another one where that is gone."""
        first = next(self._turn)
        for attempt in range(len(servers)):
            server = servers[(first + attempt) % len(servers)]
            last = attempt == len(servers) - 1
            try:
                return await server.draw(request, self.context)
            except TeacherError as error:
                failure = Failed(error=str(error))
                if last or not server.gone or stopping():
                    break
            except Unusable:
                if last or not server.gone:
                    raise
        return failure


def _card(url: str, key: str, model: str | None) -> dict[str, Any]:
    import openai

    try:
        with openai.OpenAI(base_url=url, api_key=key, timeout=20, max_retries=1) as client:
            cards = [card.model_dump() for card in client.models.list().data]
    except Exception as error:  # whatever it is, the server cannot be used
        status = getattr(error, "status_code", None)
        what = f"HTTP {status}" if status else type(error).__name__
        if status in (401, 403):
            raise UserError(f"{url} refuses the key ({what})",
                            fix=f"Check the environment variable {KEY}") from None
        raise UserError(f"{url} does not answer as an OpenAI-compatible server "
                        f"({what})", fix="Check --base-url") from None
    names = [str(card["id"]) for card in cards]
    if model is None:
        if len(cards) != 1:
            raise UserError(f"{url} serves {', '.join(names) or 'nothing'}",
                            fix="Choose one with --model")
        return dict(cards[0])
    for card in cards:
        if model in (card["id"], card.get("root")):
            return dict(card)
    raise UserError(f"{url} does not serve {model!r}", fix=f"It serves: {', '.join(names)}")
