"""Direct distillation: the teacher answers the question itself (§6.2, the ablation)."""

import re
from collections.abc import Callable

from drp_plugin.grading import equal, extract
from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.pruning.dialogue import CutReply, Dialogue, FormatError, Rejection
from drp_plugin.pruning.steps import unbraced
from drp_plugin.records import Pruned, Reason, Reject, Trace
from drp_plugin.thinking import Unfit, check_texts, join_response

_PARTS = re.compile(r"^[ \t]*#{0,4}[ \t]*\**(REASONING|ANSWER)\**:?[ \t]*$", re.MULTILINE)


def parse_answer(reply: str) -> tuple[str, str]:
    """The reasoning and the answer part of a reply. Raises FormatError."""
    marks = list(_PARTS.finditer(reply))
    if [m[1] for m in marks] != ["REASONING", "ANSWER"]:
        raise FormatError('it must have one line "## REASONING" and then one line "## ANSWER".')
    reasoning = unbraced(reply[marks[0].end():marks[1].start()])
    answer = unbraced(reply[marks[1].end():])
    if not reasoning or not answer:
        raise FormatError(f"nothing stands under ## {'ANSWER' if reasoning else 'REASONING'}.")
    return reasoning, answer


async def distill(question: Trace, client: RowClient, options: PruneOptions, *,
                  prompts: Prompts, count: Callable[[str], int]) -> Pruned | Reject:
    """The teacher's own concise solution as a training row, or why there is none."""
    dialogue = Dialogue(client, options, prompts, count)
    try:
        check_texts(question.question)
        prompt = prompts.render("distill", question=question.question)
        response = join_response(*await dialogue.ask("distill", prompt, parse_answer))
        verdict = _verify(question, response, options)
    except Unfit as unfit:
        return Rejection("trace", Reason(unfit.reason), unfit.detail).of(question, client.usage)
    except CutReply as cut:
        return cut.rejection("distill").of(question, client.usage)
    except Rejection as rejection:
        return rejection.of(question, client.usage)
    return Pruned(id=question.id, question=question.question, answer=question.answer,
        dataset=question.dataset, model=question.model, original=question.response,
        response=response, tokens_before=count(question.response) if question.response else 0,
        tokens_after=count(response), verdict=verdict, teacher=options.teacher,
        prompts_hash=prompts.hash, usage=client.usage)


def _verify(question: Trace, response: str, options: PruneOptions) -> dict[str, object]:
    found = extract(response).text
    if found is None:
        raise Rejection("verify", Reason.NO_ANSWER, "the teacher's answer part states no answer",
                        response)
    if question.answer is None:
        return {"stated": {"ok": True, "answer": found}}
    right = equal(found, question.answer, question.dataset)
    if not right and not options.keep_wrong:
        raise Rejection("verify", Reason.WRONG_ANSWER,
            f"the teacher says {found[:80]!r}, gold is {question.answer[:80]!r}", response)
    return {"solved": {"ok": right, "answer": found}}
