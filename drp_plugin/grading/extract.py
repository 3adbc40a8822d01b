"""Finding the final answer in a completion, and saying how it was found."""

import re
from typing import Literal, NamedTuple

from drp_plugin.grading.normal import tidy
from drp_plugin.grading.reading import Opaque, Words, read
from drp_plugin.grading.units import canonical
from drp_plugin.resources import Patterns
from drp_plugin.thinking import CLOSE, OPEN

How = Literal["boxed", "stated", "last_number"]
_WINDOW = 20_000  # Without a box, the answer is looked for in this many characters at the end
_PHRASE = 300  # A phrase cannot run on for longer than this
_P = Patterns("grading.yaml", "extract")


class Extraction(NamedTuple):
    """The final answer of a completion, as it was written."""

    text: str | None  # None where there is no answer
    how: How | None
    """`\\boxed{}`, a phrase such as "The answer is", or the last number or formula there is."""
    truncated: bool  # No `</think>`: the completion was cut off before its answer part began


def answer_part(completion: str, thinking: bool = True) -> str | None:
    """What follows the last `</think>`; None where the completion was cut off before it. With
    `thinking=False` (models that do not think) a completion without any tag is all answer."""
    _, tag, answer = completion.rpartition(CLOSE)
    cut_off = not tag and (thinking or completion.lstrip().startswith(OPEN))
    return None if cut_off else answer


def extract(completion: str, *, thinking: bool = True, ended: bool = True) -> Extraction:
    """The final answer of a completion.

    The last balanced, non-empty `\\boxed{}` after the last `</think>`, else `<answer>` tags, else
    what follows the last "The answer is", else the last number or formula. Never anything from
    inside the thinking, and nothing else where the text ends inside a box. With `ended=False` (a
    cutoff) an answer counts only when it is complete: "The answer is 12" may go on as 120."""
    if (answer := answer_part(completion, thinking)) is None:
        return Extraction(None, None, True)
    tail = answer[-_WINDOW:]
    if special := _P.special.search(tail[-500:]):
        cut = len(special.group())
        answer, tail = answer[:-cut], tail[:-cut]
    box, cut_inside = boxes(answer, ended=ended)
    if box is not None or cut_inside:
        return Extraction(box, "boxed" if box else None, False)
    tagged = _P.tags.findall(tail)
    said = _stated(tagged[-1], True) or tagged[-1] if tagged else _stated(tail, ended)
    if said is not None:
        return Extraction(said, "stated", False)
    last = _concluded(tail) if ended else None
    return Extraction(last, "last_number" if last else None, False)


def last_box(text: str) -> str | None:
    """The content of the last balanced, non-empty `\\boxed{…}` (or `\\boxed 2`), else None."""
    return boxes(text)[0]


def boxes(text: str, *, ended: bool = True) -> tuple[str | None, bool]:
    """The last box, and whether the text ends inside one. With `ended=False` a final `\\boxed 1`
    without braces may go on, and is none. One pass, however many braces there are."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return None, False
    found: str | None = None
    opened: list[int] = []      # for each open brace: where a box's content begins, or -1
    pending = last = -1         # end of a \boxed that still waits for its brace; of the last box
    for token in _P.tokens.finditer(text):
        mark = token.group()
        if pending >= 0 and not (mark == "{" and not text[pending:token.start()].strip()):
            found = _bare(text, pending, ended) or found
            pending = -1
        if mark == "{":
            opened.append(token.end() if pending >= 0 else -1)
            pending = -1
        elif mark == "}":
            begin = opened.pop() if opened else -1
            if begin >= 0 and (held := text[begin:token.start()]).strip():
                both = found is not None and held != found and _P.joined_box.fullmatch(
                    text, last, begin)
                found, last = f"{found}, {held}" if both else held, token.end()
        elif mark.startswith(("\\boxed", "\\fbox")):
            pending = token.end()
    if pending >= 0:
        found = _bare(text, pending, ended) or found
    cut = any(begin >= 0 for begin in opened)
    if found is None:
        return None, cut
    inner = last_box(found) if len(found) < _WINDOW and re.search(r"\\f?box", found) else None
    return (inner or found).strip(), cut


def _bare(text: str, start: int, ended: bool) -> str | None:
    match = _P.bare_box.match(text, start, start + 300)
    if match and not ended and _P.open_end.fullmatch(text, match.end()):
        return None
    return match.group(1).rstrip(".,;") or None if match else None


def _stated(text: str, ended: bool) -> str | None:
    """What the last "The answer is" states; None without one."""
    for match in reversed(list(_P.stated.finditer(text))):
        rest = match["rest"]
        if negated := _P.negated.match(rest):     # "not 11 but 12"
            rest = rest[negated.end():]
        if _P.spoken_of.match(rest):
            continue
        start = match.start("rest")     # a display may run over several lines
        if rest.startswith(("\\[", "$$")) and (
                display := _P.math.match(text[start:start + _PHRASE])):
            return _inner(display)
        value = _told(rest, ended or match.end("rest") < len(text))
        if match["not"]:
            return f"not {value}"
        if value:
            return value
    return None


def _told(rest: str, complete: bool) -> str | None:
    """The value at the head of what follows "The answer is"."""
    end = _P.end.search(_masked(rest))
    sentence = rest[:end.start()] if end else rest
    bold = [part for part in _P.bold.findall(sentence) if re.search(r"\d|\\|^\W*[A-J]\W*$", part)]
    if bold:
        return _told(bold[-1], True)
    if (math := _last_math(sentence)) is not None:
        return math
    if end is None and not complete:
        return None
    phrase = _trimmed(sentence)
    if number := _P.number.match(phrase):
        after = phrase[number.end():]
        # a unit or a few words may follow; another number means that this was a sentence
        return phrase if not re.search(r"\d", after) or re.match(r"\s*[-+*/^,:\\]", after) \
            or _readable(phrase) else number.group().strip()
    sentence = phrase if len(phrase.split()) > 4 and not re.search(r"[\\^_=]", phrase) else ""
    parts = filter(_readable, (phrase, _trimmed(_P.verb.split(phrase)[-1])))
    return next(parts, None) or _last_number(sentence) or phrase or None


def _concluded(text: str) -> str | None:
    """The last number or formula; for choices, the letter that stands alone at the end."""
    text = text.strip()
    if _P.chosen.fullmatch(text):
        return _trimmed(text)       # B) 12
    if letter := _P.letter.fullmatch(text[text.rfind("\n") + 1:]):
        return letter[1].upper()
    sentence = text[max((m.end() for m in _P.sentence_end.finditer(_masked(text))), default=0):]
    if (aside := _P.aside.search(_masked(sentence))) and re.search(r"\d", sentence[:aside.start()]):
        sentence = sentence[:aside.start()]
    if (math := _last_math(sentence)) is not None:
        return math
    last = _trimmed(_P.verb.split(sentence)[-1])
    if re.search(r"\d", last) and _readable(last):
        return last
    return _last_number(sentence) or _last_math(text) or _last_number(text)


def _last_math(sentence: str) -> str | None:
    """The last formula, with those listed beside it; None where a number is given instead."""
    if not (spans := list(_P.math.finditer(sentence))):
        return None
    run = [_inner(spans[-1])]
    for before, span in zip(spans[-2::-1], spans[:0:-1], strict=False):
        if not _P.joined.fullmatch(sentence[before.end():span.start()]):
            break
        run.insert(0, _inner(before))
    after = sentence[spans[-1].end():]
    if _P.number.search(after):
        return None         # the largest $n$ is 34
    value = ", ".join(run)
    if re.fullmatch(r"\\?[A-Za-z]+", value) and _P.number.search(_masked(sentence)):
        return None         # 12 values of $n$
    return _with_unit(value, after)


def _inner(match: re.Match[str]) -> str:
    return _trimmed(next(part for part in match.groups() if part is not None))


def _with_unit(value: str, after: str) -> str:
    word = re.match(r"\s*([a-z]{2,}(?:\s(?:per|squared|cubed)(?:\s[a-z]+)?)?|%)", after)
    if word is None or word[1] == "in" or not canonical(word[1])[1]:
        return value
    return value + ("\\%" if word[1] == "%" else f" \\text{{ {word[1]}}}")


def _masked(text: str) -> str:
    return _P.math.sub(lambda m: "\ufffc" * len(m.group()), text)


def _readable(phrase: str) -> bool:
    return 0 < len(phrase) <= _PHRASE and bool(re.search(r"\d|\\", phrase)) and not (
        _P.sentence.search(phrase)) and not isinstance(read(tidy(phrase)), Words | Opaque)


def _trimmed(text: str) -> str:
    text = _P.marks.sub("", text).lstrip(" }\n").strip().strip("*_\"'` ").strip()
    text = text if "{" in text else text.rstrip("}\"' ")
    return text.rstrip(".,;:。 ").strip("*_\"' ")


def _last_number(text: str) -> str | None:
    masked = _masked(text)
    found = max((match for pattern in (_P.number, _P.fraction, _P.tuple)
                 for match in pattern.finditer(masked)), key=lambda m: m.end(), default=None)
    return _with_unit(found[0].strip(), text[found.end():]) if found else None
