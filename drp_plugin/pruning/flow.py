"""One trace through DRP: check, decompose, revise, verify (§3.1, §3.2)."""

from __future__ import annotations

from collections.abc import Callable

from drp_plugin.prompts import Prompts
from drp_plugin.pruning.decompose import decompose, decompose_sentences
from drp_plugin.pruning.dialogue import Dialogue, Rejection
from drp_plugin.pruning.earliest import prune_earliest
from drp_plugin.pruning.indexed import Result, prune_indexed
from drp_plugin.pruning.options import EARLIEST, PruneOptions
from drp_plugin.pruning.revise import revise
from drp_plugin.pruning.verify import check_trace, verify
from drp_plugin.records import Pruned, Reason, Reject, Trace
from drp_plugin.teacher.base import Ask
from drp_plugin.thinking import Split, join_response

__all__ = ["EARLIEST", "PruneOptions", "prune_trace"]


async def prune_trace(trace: Trace, ask: Ask, options: PruneOptions, *, prompts: Prompts,
                      count: Callable[[str], int]) -> Pruned | Reject:
    """Prune one trace. Always ends in a value: a failed row is a `Reject` with its reason.

    `count` gives a text's tokens; `tokens_before` and `tokens_after` are whole responses by it.
    Neither time nor chance has a part in it: with the same replies the same value comes out.
    """
    dialogue = Dialogue(ask, options, prompts, count)
    try:
        split, final = check_trace(trace, options)
        result, share = await _pruned(trace, split, final, dialogue)
        response = join_response(result.thinking, result.answer)
        tokens = count(trace.response), count(response)
        verdict = verify(trace, split, final, result.thinking, result.answer, tokens, options)
    except Rejection as rejection:
        return Reject(id=trace.id, stage=rejection.stage, reason=rejection.reason,
                      detail=" ".join(rejection.detail.split()), reply=rejection.reply,
                      row=trace.model_dump(mode="json", exclude_none=True), usage=dialogue.usage)
    return Pruned(
        id=trace.id, question=trace.question, answer=trace.answer, dataset=trace.dataset,
        model=trace.model, original=trace.response, steps=result.steps,
        revisions=result.revisions, response=response, tokens_before=tokens[0],
        tokens_after=tokens[1], coverage=share, verdict=verdict, teacher=options.teacher,
        prompts_hash=prompts.hash, usage=dialogue.usage)


async def _pruned(trace: Trace, split: Split, final: str | None,
                  dialogue: Dialogue) -> tuple[Result, float]:
    options = dialogue.options
    if options.teacher == EARLIEST:
        if final is None:
            raise Rejection("trace", Reason.NO_ANSWER, "no final answer to look for")
        return prune_earliest(trace.question, split.thinking, split.answer, final, trace.answer,
                              trace.dataset), 1.0
    if options.decompose == "indexed":
        return await prune_indexed(trace.question, split.thinking, split.answer, dialogue), 1.0
    if options.decompose == "sentence":
        found = decompose_sentences(split.thinking)
    else:
        found = await decompose(trace.question, split.thinking, dialogue)
    revised = await revise(trace.question, split.answer, found.steps, dialogue)
    return Result(found.steps, revised.revisions, revised.thinking, revised.answer), found.coverage
