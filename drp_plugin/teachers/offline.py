"""The offline teacher: rules, no language model.

It reads the same prompts and answers in the same formats as any teacher, so that the whole loop
runs, and can be tested, without a network, a key or a cost. What it does is made for R1-style
English mathematics: it segments at sentence and clause level, labels skills, and drops
hesitation, repetition, dead ends, re-checks and everything behind the answer, while it keeps
whatever the answer's numbers depend on. It understands nothing: a language model prunes better.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from drp_plugin import segment
from drp_plugin.grading import extract
from drp_plugin.llm.messages import Reply, Request, Teacher, TeacherError
from drp_plugin.pruning.assemble import Piece, assemble
from drp_plugin.records import Action, Reason, Usage
from drp_plugin.teachers.offline_cues import SEQUENCE, Clause
from drp_plugin.teachers.offline_plan import Judge, Judgement
from drp_plugin.teachers.offline_prompts import (
    Decision,
    Given,
    section,
    steps,
    units,
    write_indexed,
    write_revision,
    write_steps,
)
from drp_plugin.teachers.offline_steps import StepGroup, groups, split
from drp_plugin.teachers.offline_text import concludes, statement, tighten

NAME = "offline:rules"
_ROOT = Path(__file__).resolve().parents[1]
_MERGE_BELOW = 60
"""Characters; neighbours that both stay and are this short become one."""
_PART = 'more="true"'
"""A prompt says by it that the steps or units are not yet the last ones."""
_PLAIN = 'labels="none"'
"""A prompt says by it that the steps have no skills."""


class OfflineTeacher(Teacher):
    """Rules behind the `Teacher` protocol. Free, deterministic, and no language model."""

    name = NAME
    local = True

    def __init__(self, count: Callable[[str], int] | None = None) -> None:
        """`count` gives a text's tokens (usage, `max_tokens`); else four characters are one."""
        self._count = count or (lambda text: (len(text) + 3) // 4)
        # rules change from release to release as no API model does
        self.identity = {"kind": "local", "model": NAME, "rules": source_digest(__name__)}

    async def ask(self, request: Request) -> Reply:
        """Answer a decomposition, revision or indexed prompt.

        Raises TeacherError for every other prompt: rules cannot solve problems or judge texts.
        `max_tokens` is obeyed, with the finish reason `length`, as by a model.
        """
        prompt = next((m.content for m in request.messages if m.role == "user"), "")
        text = answer(prompt)
        prompted = sum(self._count(message.content) for message in request.messages)
        limit = request.sampling.max_tokens
        finish = "stop"
        if limit is not None and self._count(text) > limit:
            text, finish = self._clip(text, limit), "length"
        return Reply(text=text, finish_reason="length" if finish == "length" else "stop",
                     usage=Usage(requests=1, prompt_tokens=prompted,
                                 completion_tokens=self._count(text), cost_usd=0.0))

    def _clip(self, text: str, limit: int) -> str:
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self._count(text[:middle]) <= limit:
                low = middle
            else:
                high = middle - 1
        return text[:low]


def source_digest(module: str) -> str:
    """Sixteen hex digits over a module of ours and all modules of ours that it stands on."""
    waiting, texts = [module], dict[str, bytes]()
    while waiting:
        name = waiting.pop()
        path = _ROOT.joinpath(*name.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in texts or not file.is_file():
            continue
        texts[name] = file.read_bytes()
        for node in ast.walk(ast.parse(texts[name])):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_ROOT.name):
                waiting += [str(node.module), *(f"{node.module}.{a.name}" for a in node.names)]
    digest = hashlib.sha256()
    for name in sorted(texts):
        digest.update(name.encode() + b"\0" + texts[name] + b"\0")
    return digest.hexdigest()[:16]


class _Known(NamedTuple):
    """What a prompt shows beside the reasoning."""

    question: str
    answer: str
    """The student's answer part."""


def answer(prompt: str) -> str:
    """The reply to a prompt; raises TeacherError for one that rules cannot answer."""
    question, student = (section(prompt, name) for name in ("question", "answer"))
    known = _Known(question.text if question else "", student.text if student else "")
    if numbered := section(prompt, "units"):
        return _indexed(known, units(numbered.text), whole=not numbered.says(_PART))
    if listed := section(prompt, "steps"):
        return _revision(known, steps(listed.text), whole=not listed.says(_PART))
    if reasoning := section(prompt, "reasoning"):
        return _decomposition(reasoning.text, skills=not reasoning.says(_PLAIN))
    raise TeacherError(
        "the offline teacher is rules, no language model: it knows only the shipped prompts for "
        "decomposing and revising. Give another teacher for this", Reason.REFUSED)


def _decomposition(reasoning: str, *, skills: bool) -> str:
    spans = segment.units(reasoning, "clause" if skills else "sentence")
    texts = segment.texts(reasoning, spans)
    parts = [("".join(texts[g.first : g.last + 1]), g.skill) for g in groups(texts)]
    return write_steps(parts, skills=skills)


def _indexed(known: _Known, given: list[Given], *, whole: bool) -> str:
    if not given:
        raise TeacherError("the prompt shows no units", Reason.BAD_FORMAT)
    texts = [unit.text for unit in given]
    judgement, final = _judgement(known, [texts], whole=whole)
    short = [tighten(text) if keep else ""
             for text, keep in zip(texts, judgement.keep, strict=True)]
    # calculations that only go over known ground again are one long check
    skills = ["Checking" if why in ("re-check", "after the answer") else ""
              for why in judgement.why]
    found = split(groups(texts, skills), texts, short)
    bodies = [texts[g.first : g.last + 1] for g in found]
    decisions, _ = _decide(judgement, final, found, bodies, [given[g.first].index for g in found],
                           [given[g.last].index for g in found])
    return write_indexed(decisions)


def _revision(known: _Known, given: list[Given], *, whole: bool) -> str:
    if not given:
        raise TeacherError("the prompt shows no steps", Reason.BAD_FORMAT)
    found = [StepGroup(i, i, step.skill or "") for i, step in enumerate(given)]
    bodies = [segment.texts(step.text, segment.units(step.text)) for step in given]
    indices = [step.index for step in given]
    judgement, final = _judgement(known, bodies, whole=whole)
    decisions, synthesis = _decide(judgement, final, found, bodies, indices, indices)
    return write_revision(decisions, synthesis)


def _judgement(known: _Known, bodies: Sequence[Sequence[str]], *,
               whole: bool) -> tuple[Judgement, str | None]:
    """Which clauses stay, and the final answer that the text must end with (None: it goes on)."""
    final = extract(known.answer, thinking=False).text
    clauses = [Clause(text) for body in bodies for text in body]
    judgement = Judge(known.question, clauses, known.answer, final, whole=whole).judge()
    return judgement, final if whole else None


def _decide(judgement: Judgement, final: str | None, found: Sequence[StepGroup],
            bodies: Sequence[Sequence[str]], firsts: Sequence[int],
            lasts: Sequence[int]) -> tuple[list[Decision], str]:
    """An action for each step, and the text that the kept and rewritten ones make."""
    kept = _kept(bodies, judgement)
    if final is not None:
        _conclude(kept, final)
    if not any(kept):
        kept[-1] = [Piece(statement(final) if final else bodies[-1][-1].strip(), "")]
    decisions: list[Decision] = []
    for step, pieces in enumerate(kept):
        text = assemble(pieces, opening=False)
        original = "".join(bodies[step]).strip()
        same = " ".join(original.split()) == " ".join(text.split())
        action = Action.DELETE if not text else Action.KEEP if same else Action.COMPRESS
        decisions.append(Decision(firsts[step], lasts[step], found[step].skill, action,
                                  text if action is Action.COMPRESS else ""))
    return _merged(decisions, kept), _synthesis(kept)


def _kept(bodies: Sequence[Sequence[str]], judgement: Judgement) -> list[list[Piece]]:
    kept: list[list[Piece]] = []
    at = 0
    for body in bodies:
        pieces = []
        for text in body:
            short = tighten(text) if judgement.keep[at] else ""
            if short:
                space = "\n\n" if "\n\n" in text else "\n" if "\n" in text else " "
                pieces.append(Piece(short, space))
            elif pieces and "\n" in text:
                pieces[-1] = Piece(pieces[-1].text, "\n\n" if "\n\n" in text else "\n")
            at += 1
        kept.append(pieces)
    return kept


def _conclude(kept: list[list[Piece]], final: str) -> None:
    """End with the answer's statement, in place of a last sentence that only says it."""
    for pieces in reversed(kept):
        if not pieces:
            continue
        last = pieces[-1].text
        if concludes(last) and last.rstrip()[-1:] in ".!" and "=" not in last:
            return
        if re.fullmatch(r"(?:So|Therefore|Thus|Hence|Then)?,? ?(?:the )?(?:final )?answer"
                        r"[^=]{0,60}", last, re.IGNORECASE):
            pieces[-1] = Piece(statement(final), "")
            return
        if last.endswith((",", ":", ";")):
            last = last[:-1] + "."
        elif last[-1:].isalnum() and "\n" not in pieces[-1].space:
            last += "."
        pieces[-1] = Piece(last, "\n\n")
        pieces.append(Piece(statement(final), ""))
        return


def _merged(decisions: list[Decision], kept: Sequence[Sequence[Piece]]) -> list[Decision]:
    """Short rewritten neighbours put into one MERGE."""
    merged: list[Decision] = []
    for part, pieces in zip(decisions, kept, strict=True):
        before = merged[-1] if merged else None
        text = assemble(pieces, opening=False)
        if (before is not None and before.action in (Action.COMPRESS, Action.MERGE)
                and part.action is Action.COMPRESS
                and len(before.text) < _MERGE_BELOW and len(text) < _MERGE_BELOW):
            both = assemble([Piece(before.text, " "), Piece(text, "")], opening=False)
            merged[-1] = Decision(before.first, part.last, before.skill, Action.MERGE, both)
        else:
            merged.append(part)
    return merged


def _synthesis(kept: Sequence[Sequence[Piece]]) -> str:
    """Everything that stays, in paragraphs: a new one where the student turns to a next thing."""
    result: list[Piece] = []
    length = 0
    for pieces in kept:
        for number, piece in enumerate(pieces):
            formula = len(re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}", piece.text)) <= 1
            turn = SEQUENCE.match(piece.text) or concludes(piece.text)
            unfinished = bool(result) and result[-1].text[-1] not in ".!?:,;" \
                and not piece.text[0].islower()
            if result and (unfinished or (number == 0 and (formula or turn or length > 400))):
                result[-1] = Piece(result[-1].text, "\n\n")
                length = 0
            if result and result[-1].space == "\n\n":
                length = 0
            length += len(piece.text)
            result.append(piece if number + 1 < len(pieces) or formula else Piece(piece.text, " "))
            if formula and number + 1 == len(pieces):
                result[-1] = Piece(piece.text, "\n\n")
    return assemble(result)
