"""The offline teacher: rules, no language model.

It reads the prompts and answers in the formats of any teacher. Made for R1-style English
mathematics, it segments, labels skills, and drops hesitation, repetition, dead ends, re-checks and
everything behind the answer, while it keeps whatever the answer's numbers depend on."""

import hashlib
import json
import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path

from drp_plugin import segment
from drp_plugin.grading import extract
from drp_plugin.llm.messages import Reply, Request, Teacher, TeacherError
from drp_plugin.pruning.steps import Part, Piece, assemble, gap, numbered
from drp_plugin.records import Action, Reason, Step, Usage
from drp_plugin.teachers.offline_cues import Clause, says, statement, tighten
from drp_plugin.teachers.offline_plan import Judge
from drp_plugin.teachers.offline_steps import StepGroup, groups, split

NAME = "offline:rules"
_ROOT = Path(__file__).resolve().parents[1]
_MERGE_BELOW = 60  # Characters; neighbours that both stay and are this short are joined
_Judge = Callable[[Iterable[str]], list[str]]  # Why each clause is dropped, "" for one that stays
_STEP = re.compile(r"^Step (\d+): ", re.MULTILINE)
_SKILL = re.compile(r"\nSkill: ([^\n]*)\s*\Z")
_UNIT = re.compile(r"^\[(\d+)\] ", re.MULTILINE)
_NAMES = {Action.KEEP: "KEEP", Action.DELETE: "DELETE", Action.COMPRESS: "SINGLE-STEP COMPRESS"}


def section(prompt: str, name: str) -> re.Match[str] | None:
    """`text` between `<name>` and the last `</name>`, on own lines; the tag's `attributes`."""
    return re.search(rf"(?s)\n<{name}(?P<attributes>(?: [a-z]+=\"[a-z]*\")*)>"
                     rf"(?:\n(?P<text>.*))?\n</{name}>", prompt)


def read_steps(listing: str) -> list[Step]:
    found = []
    for index, text in numbered(listing, _STEP):
        label = _SKILL.search(text.rstrip())
        body = text[: label.start()] if label else text
        found.append(Step(index=index, text=body.strip(), skill=label[1] if label else None))
    return found


def read_units(listing: str) -> list[Step]:
    """The numbered units of an indexed prompt, each with the white space after it."""
    found = []
    for index, text in numbered(listing, _UNIT):
        space = "\n\n" if text.endswith("\n\n") else \
            " " if text.rstrip()[-1:] in (".", "!", "?", ",", ":", ";") else "\n"
        found.append(Step(index=index, text=text.strip() + space))
    return found


def write_steps(parts: Sequence[tuple[str, str]], *, skills: bool) -> str:
    return "\n\n".join(f"Step {number}: {text.strip()}" + (f"\n\nSkill: {skill}" if skills else "")
                       for number, (text, skill) in enumerate(parts, start=1))


def write_revision(parts: Sequence[Part], synthesis: str) -> str:
    """A revision reply: an action a line, the synthesis, the answer part left as it is."""
    lines = []
    for part in parts:
        if part.action is Action.MERGE:
            lines.append(f"Steps {part.first}-{part.last}: MULTI-STEP COMPRESS: {part.text}")
        else:
            text = f": {part.text}" if part.text else ""
            lines += [f"Step {index}: {_NAMES[part.action]}{text}"
                      for index in range(part.first, part.last + 1)]
    return "\n".join([*lines, "", "## SYNTHESIS", synthesis, "", "## ANSWER", "UNCHANGED"])


def write_indexed(parts: Sequence[Part]) -> str:
    items = []
    for part in parts:
        named = str(part.first) if part.first == part.last else f"{part.first}-{part.last}"
        item = {"u": named, "k": part.skill, "a": part.action.value}
        if part.action in (Action.COMPRESS, Action.MERGE):
            item["t"] = part.text
        items.append(item)
    return json.dumps({"steps": items, "answer": None}, ensure_ascii=False, separators=(",", ":"))


class OfflineTeacher(Teacher):
    """Rules behind the `Teacher` protocol. Free, deterministic, and no language model."""

    name = NAME
    local = True

    def __init__(self, count: Callable[[str], int] | None = None, quality: float = 1.0) -> None:
        """`count` gives a text's tokens (usage, `max_tokens`); else four characters are one.
        `quality` is the share of judgements that are kept as the rules made them. The others are
        reversed: this stands in for a weaker teacher, and the name says so."""
        self._count = count or (lambda text: (len(text) + 3) // 4)
        self._quality = quality
        self.name = NAME if quality == 1 else f"{NAME}@{quality:g}"
        # rules change with releases, unlike an API's model
        self.identity = {"kind": "local", "model": self.name, "rules": source_digest()}

    async def ask(self, request: Request) -> Reply:
        """Answer a decomposition, revision or indexed prompt, cut at `max_tokens` (`length`).
        Raises TeacherError for every other prompt: rules cannot solve problems or judge texts."""
        text = whole = answer(next((m.content for m in request.messages if m.role == "user"), ""),
                              self._quality)
        prompted = sum(self._count(message.content) for message in request.messages)
        limit = request.sampling.max_tokens
        if limit is not None and self._count(text) > limit:
            text = text[:bisect_right(range(1, len(text) + 1), limit,
                                      key=lambda end: self._count(whole[:end]))]
        return Reply(text=text, finish_reason="stop" if text == whole else "length",
                     usage=Usage(requests=1, prompt_tokens=prompted,
                                 completion_tokens=self._count(text), cost_usd=0.0))


def source_digest() -> str:
    """Sixteen hex digits over this package's modules and tables, all that the rules depend on."""
    digest = hashlib.sha256()
    for file in sorted(chain(_ROOT.rglob("*.py"), _ROOT.joinpath("data").glob("*.yaml"))):
        name = file.relative_to(_ROOT).as_posix()
        digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def answer(prompt: str, quality: float = 1.0) -> str:
    """The reply to a prompt; raises TeacherError for one that rules cannot answer."""
    question, student = (((found := section(prompt, name)) and found["text"]) or ""
                         for name in ("question", "answer"))
    for name, read, reply in (("units", read_units, _indexed),
                              ("steps", read_steps, _revision)):
        if listed := section(prompt, name):
            if not (given := read(listed["text"] or "")):
                raise TeacherError(f"the prompt shows no {name}", Reason.BAD_FORMAT)
            final = extract(student, thinking=False).text
            whole = 'more="true"' not in listed["attributes"]  # which says that others follow

            def judge(clauses: Iterable[str], final: str | None = final,
                      whole: bool = whole) -> list[str]:
                texts = list(clauses)
                fates = Judge(question, [Clause(text) for text in texts], student, final,
                              whole=whole).judge()
                drawn = random.Random(repr((question, texts)))  # the same mistakes always
                return [why if drawn.random() < quality else "" if why else "by mistake"
                        for why in fates]

            return reply(given, judge, final if whole else None)
    if reasoning := section(prompt, "reasoning"):
        text, skills = reasoning["text"] or "", 'labels="none"' not in reasoning["attributes"]
        units = segment.texts(text, segment.units(text, "clause" if skills else "sentence"))
        return write_steps([("".join(units[first : last + 1]), skill)
                            for first, last, skill in groups(units)], skills=skills)
    raise TeacherError(
        "the offline teacher is rules, no language model: it knows only the shipped prompts for "
        "decomposing and revising. Give another teacher for this", Reason.REFUSED)


def _indexed(given: list[Step], judge: _Judge, final: str | None) -> str:
    texts = [unit.text for unit in given]
    why = judge(texts)
    short = ["" if gone else tighten(text) for text, gone in zip(texts, why, strict=True)]
    # calculations that only repeat known results are one long check
    skills = ["Checking" if gone in ("re-check", "after the answer") else "" for gone in why]
    found = split(groups(texts, skills), texts, short)
    return write_indexed(_decide(
        why, final, [StepGroup(given[g.first].index, given[g.last].index, g.skill) for g in found],
        [texts[g.first : g.last + 1] for g in found])[0])


def _revision(given: list[Step], judge: _Judge, final: str | None) -> str:
    bodies = [segment.texts(step.text, segment.units(step.text)) for step in given]
    return write_revision(*_decide(judge(chain(*bodies)), final,
        [StepGroup(step.index, step.index, step.skill or "") for step in given], bodies))


def _decide(why: Iterable[str], final: str | None, found: Sequence[StepGroup],
            bodies: Sequence[Sequence[str]]) -> tuple[list[Part], str]:
    """An action for each step, and the text that the kept and rewritten ones make. `why` says why
    each clause is dropped. The text ends with `final`, where that is given."""
    fates = iter(why)
    kept = [_kept(body, list(islice(fates, len(body)))) for body in bodies]
    if final is not None:
        _conclude(kept, final)
    if not any(kept):
        kept[-1] = [Piece(statement(final) if final else bodies[-1][-1].strip(), "")]
    parts: list[Part] = []
    for (first, last, skill), body, pieces in zip(found, bodies, kept, strict=True):
        text = assemble(pieces, opening=False)
        if not text or " ".join("".join(body).split()) == " ".join(text.split()):
            parts.append(Part(first, last, skill, Action.KEEP if text else Action.DELETE, ""))
            continue
        before = parts[-1] if parts else None
        if before is not None and before.text and max(len(before.text), len(text)) < _MERGE_BELOW:
            both = assemble([Piece(before.text, " "), Piece(text, "")], opening=False)
            parts[-1] = Part(before.first, last, before.skill, Action.MERGE, both)
        else:
            parts.append(Part(first, last, skill, Action.COMPRESS, text))
    return parts, _synthesis(kept)


def _kept(body: Sequence[str], why: Sequence[str]) -> list[Piece]:
    pieces: list[Piece] = []
    for text, gone in zip(body, why, strict=True):
        if short := "" if gone else tighten(text):
            pieces.append(Piece(short, gap(text)))
        elif pieces and "\n" in text:
            pieces[-1] = Piece(pieces[-1].text, gap(text))
    return pieces


def _conclude(kept: list[list[Piece]], final: str) -> None:
    """End with the answer's statement, in place of a last sentence that only states it."""
    pieces = next((pieces for pieces in reversed(kept) if pieces), None)
    if pieces is None:
        return
    last, space = pieces.pop()
    if says(last, "concludes") and last.rstrip()[-1:] in ".!" and "=" not in last:
        pieces.append(Piece(last, space))
        return
    if not re.fullmatch(r"(?:So|Therefore|Thus|Hence|Then)?,? ?(?:the )?(?:final )?answer"
                        r"[^=]{0,60}", last, re.IGNORECASE):
        if last.endswith((",", ":", ";")):
            last = last[:-1] + "."
        elif last[-1:].isalnum() and "\n" not in space:
            last += "."
        pieces.append(Piece(last, "\n\n"))
    pieces.append(Piece(statement(final), ""))


def _synthesis(kept: Sequence[Sequence[Piece]]) -> str:
    """All that stays, in paragraphs: a new one where the student turns to something new."""
    result: list[Piece] = []
    length = 0
    for pieces in kept:
        for number, piece in enumerate(pieces):
            formula = len(re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}", piece.text)) <= 1
            turn = says(piece.text, "sequence", "concludes")
            unfinished = bool(result) and result[-1].text[-1] not in ".!?:,;" \
                and not piece.text[0].islower()
            if result and (unfinished or (number == 0 and (formula or turn or length > 400))):
                result[-1] = Piece(result[-1].text, "\n\n")
            if result and result[-1].space == "\n\n":
                length = 0
            length += len(piece.text)
            last = number + 1 == len(pieces)
            result.append(Piece(piece.text, piece.space if not last else
                                "\n\n" if formula else " "))
    return assemble(result)
