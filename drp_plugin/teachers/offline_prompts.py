"""What the rule teacher finds in a prompt, and how it writes its replies."""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from drp_plugin.pruning.assemble import Part
from drp_plugin.records import Action, Step

_STEP = re.compile(r"^Step (\d+): ", re.MULTILINE)
_SKILL = re.compile(r"\nSkill: ([^\n]*)\s*\Z")
_UNIT = re.compile(r"^\[(\d+)\] ", re.MULTILINE)


class Section(NamedTuple):
    """A part of a prompt, and the attributes of its tag."""

    text: str
    attributes: str

    def says(self, attribute: str) -> bool:
        """Whether the tag has `attribute`, written as in the prompt: `more="true"`."""
        return attribute in self.attributes.split()


def section(prompt: str, name: str) -> Section | None:
    """What stands between `<name>` and the last `</name>`, each on a line of its own."""
    opening = re.search(rf"\n<{name}((?: [a-z]+=\"[a-z]*\")*)>\n", prompt)
    closing = prompt.rfind(f"\n</{name}>")
    if opening is None or closing < opening.start():
        return None
    return Section(prompt[opening.end():closing] if closing >= opening.end() else "", opening[1])


def steps(listing: str) -> list[Step]:
    """The numbered steps of a revision prompt."""
    found = []
    for index, text in _numbered(listing, _STEP):
        label = _SKILL.search(text.rstrip())
        body = text[: label.start()] if label else text
        found.append(Step(index=index, text=body.strip(), skill=label[1] if label else None))
    return found


def units(listing: str) -> list[Step]:
    """The numbered units of an indexed prompt, each with the white space behind it."""
    found = []
    for index, text in _numbered(listing, _UNIT):
        space = "\n\n" if text.endswith("\n\n") else \
            " " if text.rstrip()[-1:] in (".", "!", "?", ",", ":", ";") else "\n"
        found.append(Step(index=index, text=text.strip() + space))
    return found


def _numbered(listing: str, marker: re.Pattern[str]) -> list[tuple[int, str]]:
    turns: list[re.Match[str]] = []
    for match in marker.finditer(listing):
        if not turns or int(match[1]) == int(turns[-1][1]) + 1:
            turns.append(match)
    ends = [match.start() for match in turns[1:]] + [len(listing)]
    return [(int(match[1]), listing[match.end() : end])
            for match, end in zip(turns, ends, strict=True)]


def write_steps(parts: Sequence[tuple[str, str]], *, skills: bool) -> str:
    """A decomposition reply: texts and skills."""
    return "\n\n".join(f"Step {number}: {text.strip()}" + (f"\n\nSkill: {skill}" if skills else "")
                       for number, (text, skill) in enumerate(parts, start=1))


_NAMES = {Action.KEEP: "KEEP", Action.DELETE: "DELETE", Action.COMPRESS: "SINGLE-STEP COMPRESS"}


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
    """A structured reply: ranges, skills, actions and new texts."""
    items = []
    for part in parts:
        named = str(part.first) if part.first == part.last else f"{part.first}-{part.last}"
        item = {"u": named, "k": part.skill, "a": part.action.value}
        if part.action in (Action.COMPRESS, Action.MERGE):
            item["t"] = part.text
        items.append(item)
    return json.dumps({"steps": items, "answer": None}, ensure_ascii=False, separators=(",", ":"))
