"""A thinking budget by continuation: the same in every engine, whatever its version has itself."""

from __future__ import annotations

from collections.abc import Sequence

from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.messages import Message
from drp_plugin.sampling.completions import Completion, Outcome, Sampler, SampleRequest
from drp_plugin.sampling.through_ledger import Report, complete
from drp_plugin.thinking import CLOSE


def within_budget(sampler: Sampler, requests: Sequence[SampleRequest], budget: int,
                  ledger: Ledger, report: Report = lambda n, outcome: None) -> list[Outcome]:
    """Completions whose thinking is no longer than `budget` tokens, in order; see `complete`.

    Thinking that is still open after so many tokens is closed there (the tag is not counted), and
    the model goes on with its answer; one that had closed it goes on where it was.
    """
    first = complete(sampler, [r.model_copy(update={"max_new_tokens": min(budget, r.limit)})
                               for r in requests], ledger, report)
    begun: dict[int, Completion] = {}
    more = []
    for index, (request, said) in enumerate(zip(requests, first, strict=True)):
        if not isinstance(said, Completion) or said.finish != "length" \
                or said.tokens < budget or said.tokens >= request.limit:
            continue
        text = said.text + ("" if CLOSE in said.text else f"\n{CLOSE}\n\n")
        begun[index] = said.model_copy(update={"text": text})
        more.append(request.model_copy(update={
            "messages": (*request.messages, Message(role="assistant", content=text)),
            "max_new_tokens": request.max_new_tokens - said.tokens,
            "cutoff": None if request.cutoff is None else request.cutoff - said.tokens}))
    # the rows were reported when they were drawn for the first time
    rest = complete(sampler, more, ledger, lambda n, outcome: report(0, outcome))
    for (index, said), end in zip(begun.items(), rest, strict=True):
        first[index] = end if not isinstance(end, Completion) else end.model_copy(update={
            "text": said.text + end.text, "tokens": said.tokens + end.tokens,
            "prompt_tokens": said.prompt_tokens})
    return first
