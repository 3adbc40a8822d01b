"""The student behind OpenAI-compatible servers; several of them share the work."""

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.finish import ending
from drp_plugin.jsonl import encodable, loads
from drp_plugin.llm.addresses import check_address, find_key
from drp_plugin.llm.blame import no_connection
from drp_plugin.llm.limiter import Limiter
from drp_plugin.llm.messages import Reply, Request, Sampling, TeacherError
from drp_plugin.llm.openai_client import KEY, OpenAITeacher, Servers, chat_body, read_completion
from drp_plugin.llm.remote import status_of
from drp_plugin.llm.retry import Persistent, Retries, Transient
from drp_plugin.records import Reason
from drp_plugin.sampling.completions import Completion, Failed, Outcome, Sampler, SampleRequest
from drp_plugin.sampling.pool import in_thread
from drp_plugin.terminal import say
from drp_plugin.thinking import join_response

CONCURRENCY = 64  # Requests in flight at each server; vLLM queues the excess
_LOOK_S = 20.0  # For the list of a server's models, in all
_SHOWN = 20  # Models that a message names
_OWN = "skip_special_tokens"


class _Server(OpenAITeacher):
    """One server: asked as a teacher is, but its replies are a student's completions."""

    plain = False  # It refuses fields beyond OpenAI's own

    async def card(self, model: str | None) -> dict[str, Any]:
        """What it says of this model, or of its only one. Raises UserError where it has none."""
        try:
            async with asyncio.timeout(_LOOK_S):
                client = self.client.with_options(max_retries=1)
                got = await client.models.with_raw_response.list()
            cards: list[dict[str, Any]] = [card for card in loads(got.http_response.content)["data"]
                                           if isinstance(card.get("id"), str)]
        except Exception as error:  # whatever it is, the server cannot be used
            status = status_of(error)
            what = f"HTTP {status}" if status else no_connection(error)
            if status in (401, 403):
                raise UserError(f"{self.base_url} refuses the key ({what})",
                                fix=f"Check the environment variable {KEY}") from None
            raise UserError(f"{self.base_url} does not answer as an OpenAI-compatible server "
                            f"({what})", fix="Check --base-url") from None
        names = [card["id"] for card in cards[:_SHOWN]] + ["…"] * (len(cards) > _SHOWN)
        if model is None and len(cards) != 1:
            raise UserError(f"{self.base_url} serves {', '.join(names) or 'nothing'}",
                            fix="Choose one with --model")
        for card in cards:
            if model in (None, card["id"], card.get("root")):
                return card
        raise UserError(f"{self.base_url} does not serve {model!r}",
                        fix=f"It serves: {', '.join(names)}")

    async def draw(self, request: SampleRequest, context: int | None) -> Completion:
        """Raises TeacherError if there is none, Unusable if there never is."""
        # servers strip special tokens, and in some tokenizers </think> is one
        extra: dict[str, Any] = {} if self.official else {_OWN: False}
        if request.top_k:
            extra["top_k"] = request.top_k
        # vLLM refuses a limit over the rest of its context; without one it uses the rest
        limit = request.limit if context is None or request.limit < context else None
        body = chat_body(self.model, Request(messages=request.messages, sampling=Sampling(
            temperature=request.temperature, top_p=request.top_p, seed=request.seed,
            max_tokens=limit, extra=extra)), official=self.official)
        reply = await self.persistent.run(lambda: self._once(body), keep=True)
        # the server does not say how it ended: at the limit it was cut
        stopped = reply.finish_reason == "stop" or (
            reply.finish_reason == "other" and reply.usage.completion_tokens < request.limit)
        tokens = max(reply.usage.completion_tokens - stopped, 0)  # servers count the stop token
        return Completion(text=reply.text, tokens=tokens, prompt_tokens=reply.usage.prompt_tokens,
                          finish="stop" if stopped else request.cut(tokens))

    async def _once(self, body: dict[str, Any]) -> Reply:
        if self.plain:
            body.pop(_OWN, None)
        try:
            return await super()._once(body)
        except Exception:
            if not self.plain or _OWN not in body:
                raise
            return await self._once(body)

    def _explain(self, error: Exception) -> Exception:
        explained = super()._explain(error)
        if _OWN in str(error) and not (self.plain or self.official):
            say(f"{self.base_url} takes no {_OWN}: a </think> that is a special token will be "
                "missing")
            self.plain = True
        return explained

    def _completion(self, body: dict[str, Any]) -> Reply:
        """As a teacher's, with the thinking that the server's parser separated from the text."""
        reply, choice = read_completion(body), body["choices"][0]
        message = choice["message"]
        thought = message.get("reasoning_content") or message.get("reasoning")
        text = encodable(join_response(thought, reply.text) if thought and reply.text
                         else thought or reply.text)
        said = choice.get("finish_reason")
        if reply.finish_reason == "refusal" or (
                said is not None and ending(said) not in ("stop", "length")):
            raise TeacherError(f"the server ended with {said!r}", Reason.REFUSED)
        if not text and not reply.usage.completion_tokens:  # a student may end at once: one token
            raise Transient("the server sent no text")
        return reply.model_copy(update={
            "text": text, "finish_reason": "other" if said is None else ending(said)})


class EndpointSampler(Sampler):
    """A model served by one or more OpenAI-compatible servers.

    `model` may be left out where the servers name one themselves. `timeout_s` is for a whole
    request; `retries` more attempts are made before another server is asked. The key is that of
    OPENAI_API_KEY. Raises UserError when a server does not answer or does not have the model."""

    def __init__(self, base_urls: Sequence[str], model: str | None = None, *,
                 concurrency: int = CONCURRENCY, timeout_s: float = 3600.0,
                 retries: int = 4) -> None:
        self.base_urls, self.concurrency = base_urls, concurrency
        self.timeout_s, self.retries = timeout_s, retries
        self._key = find_key(KEY) or "none"
        for url in base_urls:
            check_address(url)
        cards = [card for _, card in in_thread(lambda found: self._look(model, found))]
        self.model = str(cards[0]["id"])
        roots = {str(card.get("root") or card["id"]) for card in cards}
        if len(roots) > 1:
            raise UserError(f"the servers have different models: {', '.join(sorted(roots))}")
        self.context: int | None = min((n for card in cards if type(
            n := card.get("max_model_len")) is int and n > 0), default=None)
        self.identity = {"engine": "openai", "model": self.model, "root": roots.pop()}
        self._halted = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: list[asyncio.Task[None]] = []
        self._connections: list[Persistent] = []

    async def _look(self, model: str | None, found: Any) -> None:
        for number, url in enumerate(self.base_urls):
            server = _Server(model or "", base_url=url, api_key=self._key,
                             persistent=Persistent(Limiter(1), timeout_s=_LOOK_S))
            try:
                found.put((number, await server.card(model)))
            finally:
                await server.close()

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
        """See `Sampler.sample`. Raises Unusable when no server can be asked any more."""
        self._halted.clear()
        try:
            yield from in_thread(lambda results: self._all(enumerate(requests), results))
        finally:
            self.stop()

    def status(self) -> str:
        return ", ".join(filter(None, (c.status() for c in self._connections)))

    def stop(self) -> bool:
        """See `Sampler.stop`: requests in flight finish; the second time they are dropped."""
        self._halted.set()
        with contextlib.suppress(RuntimeError):  # the event loop has just ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(lambda: [t.cancel() for t in self._running])
        return True

    async def _all(self, waiting: Iterator[tuple[int, SampleRequest]], results: Any) -> None:
        self._loop = asyncio.get_running_loop()
        servers = Servers([_Server(self.model, base_url=url, api_key=self._key,
                                   persistent=Persistent(
            Limiter(self.concurrency, start=self.concurrency), Retries(attempts=self.retries + 1),
            timeout_s=self.timeout_s, where=url)) for url in self.base_urls])

        self._connections = [server.persistent for server in servers.servers]

        async def work() -> None:
            while not self._halted.is_set() and (item := next(waiting, None)) is not None:
                try:
                    results.put((item[0], await self._one(item[1], servers)))
                except Exception:  # the other servers' requests in flight still finish
                    if not self._halted.is_set():  # a second stop would drop them
                        self.stop()
                    raise

        self._running = [asyncio.ensure_future(work())
                         for _ in range(self.concurrency * len(self.base_urls))]
        try:
            ends = await asyncio.gather(*self._running, return_exceptions=True)
        finally:
            await asyncio.gather(*(server.close() for server in servers.servers))
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _one(self, request: SampleRequest, servers: Servers[_Server]) -> Outcome:
        try:
            return await servers.ask(lambda server: server.draw(request, self.context))
        except TeacherError as error:
            return Failed(error=str(error))
