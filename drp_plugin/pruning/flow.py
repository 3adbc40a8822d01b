"""One trace through DRP: check, decompose, revise, verify (§3.1, §3.2).

What each check looks at, its reject reason and its switch are in docs/pruning.md. All are on by
default; `keep_wrong` with every switch off is the unfiltered set of the paper's code."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from drp_plugin.grading import equal, extract
from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.pruning.decompose import decompose, decompose_sentences
from drp_plugin.pruning.dialogue import CheckedTrace, Dialogue, Prune, Rejection, Result
from drp_plugin.pruning.indexed import prune_indexed
from drp_plugin.pruning.numbers import new_numbers
from drp_plugin.pruning.revise import revise
from drp_plugin.records import Pruned, Reason, Reject, Trace
from drp_plugin.resources import table
from drp_plugin.thinking import OPEN, Unfit, check_texts, join_response, shaped, split_response

_TAIL = 400  # Characters at T̂'s end that are searched for its statement of the answer
_SAMPLE = 1000  # Characters in each of the three samples that decide a text's language
_ENDINGS = ".!?。！？)]}$`*_\"'”’…|>"
_FORMULA = re.compile(r"\\[a-zA-Z]+|\$[^$\n]{0,500}\$")
_TABLES = table("words.yaml")
_SCRIPTS = re.compile("|".join(f"(?P<{name}>[{letters}])"
                               for name, letters in _TABLES["scripts"].items()))
_ASCII = re.compile(r"[\x00-\x7f]+")
_NO_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalpha())
_BLANKED = bytes(32 if byte in _NO_LETTERS else byte for byte in range(256))
_WORDS: dict[bytes, list[str]] = {}  # The languages in which a word is common
for _name, _common in _TABLES["languages"].items():
    for _one in set(_common.split()):
        _WORDS.setdefault(_one.encode(), []).append(_name)


def check_trace(trace: Trace, options: PruneOptions) -> CheckedTrace:
    """The trace taken apart. Raises Rejection, stage `trace`, for a trace that cannot be pruned or
    should not be learned, or that `drp build` would refuse. Nothing is asked about it."""
    split = split_response(trace.response)
    if not split.complete:
        if trace.finish == "stop":
            raise Rejection("trace", Reason.NO_THINKING, "the student ended by itself without "
                            "</think>: it does not think, or did not close its thinking")
        raise Rejection("trace", Reason.NO_THINK_END,
                        "no </think>: the student was cut off while thinking")
    try:
        shaped(trace.response)
        check_texts(trace.question, trace.response)
    except Unfit as unfit:
        reason = {"empty_thinking": Reason.EMPTY_TRACE, "empty_answer": Reason.NO_ANSWER}
        raise Rejection("trace", reason.get(unfit.reason) or Reason(unfit.reason),
                        unfit.detail) from None
    final = extract(trace.response).text
    checked = CheckedTrace(trace, split.thinking, split.answer, final)
    if options.keep_wrong:
        return checked
    if final is None:
        raise Rejection("trace", Reason.NO_ANSWER, "no final answer after </think>")
    if trace.answer is not None and not equal(final, trace.answer, trace.dataset):
        raise Rejection("trace", Reason.WRONG_ANSWER,
                        f"the student says {final[:80]!r}, gold is {trace.answer[:80]!r}")
    return checked


def verify(checked: CheckedTrace, result: Result, tokens: tuple[int, int],
           options: PruneOptions) -> dict[str, Any]:
    """Each check's finding; `tokens` are R's and R̂'s. Raises Rejection at the first failure."""
    verdict: dict[str, Any] = {}
    thinking, answer = result.thinking, result.answer
    meant = result.kind == "no_thinking"
    if not thinking.strip() and not meant:
        raise Rejection("verify", Reason.EMPTY_RESULT, "no reasoning is left")
    if not answer.strip() and checked.answer:
        raise Rejection("verify", Reason.EMPTY_RESULT, "no answer part is left")
    verdict["empty"] = {"ok": True}
    if "</think>" in thinking or "<think>" in thinking or "</think>" in answer:
        raise Rejection("verify", Reason.BAD_FORMAT, "a think tag stands inside the pruned text")
    # its end only: an earlier box belongs to a step or a guess
    ending = extract(thinking[-_TAIL:], thinking=False)
    stated = ending.text if ending.how in ("boxed", "stated") else None
    if options.check_complete and not meant:
        end = thinking.rstrip()[-1]
        if (end.isalnum() and stated is None) or end in ",:;(":
            raise Rejection("verify", Reason.CUT_REPLY,
                            f"the reasoning breaks off: …{thinking.rstrip()[-60:]!r}")
        verdict["complete"] = {"ok": end in _ENDINGS or stated is not None}
    if options.check_answer and checked.final is not None:
        verdict["answer"] = _check_answer(checked, checked.final, result, stated)
    if options.check_numbers and result.kind == "edit":
        known = f"{checked.trace.question}\n{checked.thinking}\n{checked.answer}"
        if fresh := new_numbers(thinking, known):
            raise Rejection("verify", Reason.NEW_NUMBER, "neither the question nor the trace holds "
                            f"{', '.join(fresh[:5])}, and no right step of arithmetic gives it")
        verdict["numbers"] = {"ok": True}
    if options.check_length:
        if tokens[1] > tokens[0]:
            raise Rejection("verify", Reason.LONGER, f"{tokens[1]} tokens, was {tokens[0]}")
        verdict["length"] = {"ok": True}
    if options.check_language:
        if not same_language(thinking, checked.thinking):
            raise Rejection("verify", Reason.WRONG_LANGUAGE,
                            f"the trace's language is another one: {thinking[:60]!r}")
        verdict["language"] = {"ok": True}
    return verdict


def _check_answer(checked: CheckedTrace, final: str, result: Result,
                  stated: str | None) -> dict[str, Any]:
    trace = checked.trace

    def same(one: str, other: str) -> bool:
        return one == other or equal(one, other, trace.dataset)

    new = final if result.answer == checked.answer else \
        extract(join_response(result.thinking, result.answer)).text
    if new is None or not same(new, final):
        raise Rejection("verify", Reason.ANSWER_CHANGED, "the answer part says "
                        f"{(new or 'nothing')[:80]!r}, the trace {final[:80]!r}")
    if trace.answer is not None and not same(new, trace.answer):
        if not same(final, trace.answer):
            return {"ok": True, "answer": new, "gold": False}  # `keep_wrong`
        raise Rejection("verify", Reason.ANSWER_CHANGED,
                        f"the answer part says {new[:80]!r}, gold is {trace.answer[:80]!r}")
    if stated is not None and not same(stated, final):
        raise Rejection("verify", Reason.ANSWER_CHANGED, "the reasoning ends with "
                        f"{stated[:80]!r}, the trace with {final[:80]!r}")
    return {"ok": True, "answer": new, "stated": stated}


def script(text: str) -> str | None:
    """The script that most letters of a text without formulas have; None without letters."""
    counts = Counter(match.lastgroup for match in _SCRIPTS.finditer(_ASCII.sub("", text)))
    if latin := len(text.encode("ascii", "ignore").translate(None, _NO_LETTERS)):
        counts["Latin"] += latin
    counts.pop("Greek", None)  # mathematics
    if counts["Kana"]:
        counts["Kana"] += counts.pop("Han", 0)
    return counts.most_common(1)[0][0] if counts else None


def language(text: str) -> str | None:
    """The language of a text in Latin letters; None where its words do not decide."""
    scores = dict.fromkeys(_TABLES["languages"], 0)
    text = text.lower()
    for sign in set(_ASCII.sub("", text)):
        if not sign.isalnum() or sign.isdecimal():
            text = text.replace(sign, " ")
    # bytes split into words several times faster than a regular expression
    words = Counter(text.encode().translate(_BLANKED).split())
    for word in words.keys() & _WORDS.keys():
        for name in _WORDS[word]:
            scores[name] += words[word]
    first, second = sorted(scores, key=lambda name: scores[name], reverse=True)[:2]
    return first if scores[first] >= 5 and scores[first] > 1.5 * scores[second] else None


def _sample(text: str) -> str:
    """Enough of a long text to tell its language: its beginning, middle and end."""
    middle = (len(text) - _SAMPLE) // 2
    return text if middle <= _SAMPLE else " ".join((
        text[:_SAMPLE], text[middle : middle + _SAMPLE], text[-_SAMPLE:]))


def same_language(text: str, model: str) -> bool:
    """Whether `text` is in the language of `model`; True if that cannot be decided."""
    text, model = (_FORMULA.sub(" ", _sample(whole)) for whole in (text, model))
    found = ((tell(text), tell(model)) for tell in (script, language))
    return all(ours is None or theirs is None or ours == theirs for ours, theirs in found)


async def prune_with_teacher(checked: CheckedTrace, dialogue: Dialogue) -> Result:
    """The paper's method: the teacher segments T, then revises the steps."""
    mode = dialogue.options.decompose
    if mode == "indexed":
        return await prune_indexed(checked, dialogue)
    steps, coverage = (decompose_sentences(checked.thinking), 1.0) if mode == "sentence" \
        else await decompose(checked.trace.question, checked.thinking, dialogue)
    return (await revise(checked, steps, dialogue))._replace(coverage=coverage)


async def prune_trace(trace: Trace, client: RowClient, options: PruneOptions, *, prompts: Prompts,
                      count: Callable[[str], int],
                      prune: Prune = prune_with_teacher) -> Pruned | Reject:
    """Prune one trace. Always ends in a value: a failed row is a `Reject` with its reason. `count`
    gives a text's tokens; `tokens_before` and `tokens_after` are whole responses by it. It depends
    on neither time nor chance: equal replies give an equal value."""
    try:
        checked = check_trace(trace, options)
        before = count(trace.response)
        result = await prune(checked, Dialogue(client, options, prompts, count, before))
        response = join_response(result.thinking, result.answer)
        original = trace.response if result.original is None else result.original
        tokens = before if result.original is None else count(original), count(response)
        longest = tokens[0]
        if tokens[1] > longest and OPEN not in original:
            # an opening tag that R's prompt held does not count as longer
            longest = count(f"{OPEN}\n{original}")
        try:
            verdict = verify(checked, result, (longest, tokens[1]), options)
        except Rejection as rejection:
            rejection.reply = rejection.reply or response  # a person may judge it right
            raise
    except Rejection as rejection:
        return rejection.of(trace, client.usage)
    return Pruned(id=trace.id, question=trace.question, answer=trace.answer, dataset=trace.dataset,
        model=trace.model, prompt=trace.prompt, original=original, steps=result.steps,
        revisions=result.revisions, response=response, tokens_before=tokens[0],
        tokens_after=tokens[1], coverage=result.coverage, verdict=verdict, teacher=options.teacher,
        prompts_hash=prompts.hash, usage=client.usage)
