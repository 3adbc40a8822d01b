"""The student behind OpenAI-compatible servers; several of them share the work."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.finish import ending
from drp_plugin.llm.addresses import check_address, find_key
from drp_plugin.llm.openai_client import KEY
from drp_plugin.sampling.completions import Completion, Failed, Outcome, SampleRequest
from drp_plugin.thinking import CLOSE, OPEN

CONCURRENCY = 64
"""Requests in flight at each server; vLLM queues what it cannot hold."""


class EndpointSampler:
    """A model served by one or more OpenAI-compatible servers.

    `model` may be left out where the servers name one themselves. The key is read from
    OPENAI_API_KEY; servers of one's own mostly need none. Raises UserError when a server does
    not answer or does not have the model.
    """

    def __init__(self, base_urls: Sequence[str], model: str | None = None, *,
                 concurrency: int = CONCURRENCY, timeout_s: float = 3600.0,
                 retries: int = 4) -> None:
        import openai

        self._openai = openai
        key = find_key(KEY) or "none"
        for url in base_urls:
            check_address(url)
        self._clients = [openai.OpenAI(base_url=url, api_key=key, timeout=timeout_s,
                                       max_retries=retries) for url in base_urls]
        self.concurrency = concurrency
        self._turn = itertools.count()
        self._lock = threading.Lock()
        cards = [self._card(client, url, model)
                 for client, url in zip(self._clients, base_urls, strict=True)]
        self.model = str(cards[0]["id"])
        roots = {str(card.get("root") or card["id"]) for card in cards}
        if len(roots) > 1:
            raise UserError(f"the servers have different models: {', '.join(sorted(roots))}")
        self.context: int | None = min(
            (int(n) for card in cards if (n := card.get("max_model_len"))), default=None)
        self.identity: dict[str, Any] = {"engine": "openai", "model": self.model,
                                         "root": roots.pop()}

    @staticmethod
    def _card(client: Any, url: str, model: str | None) -> dict[str, Any]:
        try:
            cards = [card.model_dump() for card in client.with_options(
                max_retries=1, timeout=20).models.list().data]
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

    def sample(self, requests: Sequence[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
        """See `Sampler.sample`."""
        waiting = iter(enumerate(requests))
        size = self.concurrency * len(self._clients)
        running: dict[Future[Outcome], int] = {}
        with ThreadPoolExecutor(max_workers=size, thread_name_prefix="endpoint") as pool:
            try:
                while True:
                    for index, request in itertools.islice(waiting, size - len(running)):
                        running[pool.submit(self._ask, request)] = index
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield running.pop(future), future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, request: SampleRequest) -> Outcome:
        with self._lock:
            first = next(self._turn)
        error = ""
        for attempt in range(len(self._clients)):  # another server when one is gone
            client = self._clients[(first + attempt) % len(self._clients)]
            try:
                return self._completion(client.chat.completions.create(**self._body(request)),
                                        request)
            except (self._openai.APIConnectionError, self._openai.InternalServerError) as caught:
                error = f"{type(caught).__name__}: {caught}"
            except self._openai.APIStatusError as caught:
                return Failed(error=f"HTTP {caught.status_code}: {str(caught.message)[:300]}")
            except Exception as caught:
                return Failed(error=f"{type(caught).__name__}: {caught}"[:300])
        return Failed(error=error[:300])

    def _body(self, request: SampleRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model, "messages": [m.model_dump() for m in request.messages],
            "temperature": request.temperature, "top_p": request.top_p, "seed": request.seed,
            # servers strip special tokens, and </think> is one in some tokenizers
            "extra_body": {"skip_special_tokens": False}}
        if request.top_k:
            body["extra_body"]["top_k"] = request.top_k
        # vLLM refuses a limit over what its context has left; without one it takes the rest
        if self.context is None or request.limit < self.context:
            body["max_tokens"] = request.limit
        return body

    def _completion(self, reply: Any, request: SampleRequest) -> Outcome:
        choice = reply.choices[0]
        message = choice.message
        extra = message.model_extra or {}
        thought = extra.get("reasoning_content") or extra.get("reasoning")
        text = message.content or ""
        if thought:  # the server has a reasoning parser: put the response together again
            text = f"{OPEN}\n{thought.strip()}\n{CLOSE}\n\n{text.strip()}" if text else thought
        end = ending(choice.finish_reason)
        if end not in ("stop", "length") and choice.finish_reason is not None:
            return Failed(error=f"the server ended with {choice.finish_reason!r}")
        usage = reply.usage
        made = usage.completion_tokens if usage else 0
        # a server that does not say: at the limit it was cut
        stopped = end == "stop" or (end == "unknown" and made < request.limit)
        cut = not stopped and made == request.cutoff
        # servers count the stop token
        return Completion(text=text, tokens=max(made - stopped, 0),
                          prompt_tokens=usage.prompt_tokens if usage else 0,
                          finish="stop" if stopped else "cutoff" if cut else "length")
