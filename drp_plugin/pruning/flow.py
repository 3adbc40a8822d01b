"""One trace through DRP: check, decompose, revise, verify (§3.1, §3.2)."""

from collections.abc import Callable

from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.prompts import Prompts
from drp_plugin.pruning.decompose import decompose, decompose_sentences
from drp_plugin.pruning.dialogue import (
    CheckedTrace,
    Dialogue,
    Prune,
    PruneOptions,
    Rejection,
    Result,
)
from drp_plugin.pruning.indexed import prune_indexed
from drp_plugin.pruning.revise import revise
from drp_plugin.pruning.verify import check_trace, verify
from drp_plugin.records import Pruned, Reject, Trace
from drp_plugin.thinking import OPEN, join_response


async def prune_with_teacher(checked: CheckedTrace, dialogue: Dialogue) -> Result:
    """The paper's method: the teacher segments T, then revises the steps."""
    mode = dialogue.options.decompose
    if mode == "indexed":
        return await prune_indexed(checked, dialogue)
    steps, coverage = decompose_sentences(checked.thinking) if mode == "sentence" \
        else await decompose(checked.trace.question, checked.thinking, dialogue)
    result = await revise(checked, steps, dialogue)
    return result._replace(coverage=coverage)


async def prune_trace(trace: Trace, client: RowClient, options: PruneOptions, *, prompts: Prompts,
                      count: Callable[[str], int],
                      prune: Prune = prune_with_teacher) -> Pruned | Reject:
    """Prune one trace. Always ends in a value: a failed row is a `Reject` with its reason. `count`
    gives a text's tokens; `tokens_before` and `tokens_after` are whole responses by it. Neither
    time nor chance has a part in it: with the same replies the same value comes out."""
    dialogue = Dialogue(client, options, prompts, count)
    try:
        checked = check_trace(trace, options)
        result = await prune(checked, dialogue)
        response = join_response(result.thinking, result.answer)
        original = trace.response if result.original is None else result.original
        tokens = count(original), count(response)
        # the opening tag, which R has not where its prompt had it, makes no response longer
        longest = tokens[0] if OPEN in original else count(f"{OPEN}\n{original}")
        try:
            verdict = verify(checked, result, (longest, tokens[1]), options)
        except Rejection as rejection:
            rejection.reply = rejection.reply or response  # a person may find it right
            raise
    except Rejection as rejection:
        return rejection.of(trace, client.usage)
    return Pruned(
        id=trace.id, question=trace.question, answer=trace.answer, dataset=trace.dataset,
        model=trace.model, prompt=trace.prompt, original=original, steps=result.steps,
        revisions=result.revisions, response=response, tokens_before=tokens[0],
        tokens_after=tokens[1], coverage=result.coverage, verdict=verdict, teacher=options.teacher,
        prompts_hash=prompts.hash, usage=client.usage)
