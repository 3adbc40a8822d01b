"""D(T) → (s_1, k_1) … (s_m, k_m): skill-based step decomposition and its ablations (§3.1).

A long T is cut into parts that one request can hold."""

from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property, partial
from itertools import accumulate
from operator import itemgetter

from drp_plugin.pruning import steps as cuts
from drp_plugin.pruning.dialogue import CutReply, Dialogue, FormatError, Rejection
from drp_plugin.records import Reason, Step
from drp_plugin.segment import Level, Span, units

_SMALLEST_WINDOW = 64  # Tokens: a teacher that cannot segment even this is given up


class Windows:
    """Parts of a text, each at most so many tokens, that end where a unit ends."""

    def __init__(self, text: str, count: Callable[[str], int], level: Level = "sentence") -> None:
        self.text, self._count, self._level = text, count, level

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        return units(self.text, self._level)

    @cached_property
    def _tokens(self) -> list[int]:
        return [0, *accumulate(self._count(self.text[s.start : s.end]) for s in self.spans)]

    def end(self, start: int, limit: int) -> int:
        """Where the part that begins at character `start` ends. At least one unit; where the text
        goes on, the end of a paragraph in the part's last quarter is preferred."""
        first = self.units_until(start)
        base = self._tokens[first]
        last = max(first, bisect_right(self._tokens, base + limit) - 2)
        if last >= len(self.spans) - 1:
            return len(self.text)
        floor = base + (self._tokens[last + 1] - base) * 3 // 4
        late = (self.spans[i] for i in range(last, first, -1) if self._tokens[i + 1] >= floor)
        return next((span.end for span in late if "\n\n" in self.text[
            max(span.start, span.end - 8) : span.end]), self.spans[last].end)

    def units_until(self, position: int) -> int:
        return bisect_right(self.spans, position, key=itemgetter(1))

    def count_tokens(self, start: int, end: int) -> int:
        first, last = self.units_until(start), self.units_until(end - 1)
        return self._tokens[min(last + 1, len(self.spans))] - self._tokens[first]


def decompose_sentences(thinking: str) -> tuple[Step, ...]:
    """Appendix D's baseline: split at sentence boundaries, no skills, no request."""
    spans = enumerate(units(thinking, "sentence"), start=1)
    return cuts.as_steps([cuts.stretch(index, thinking, *span) for index, span in spans])


async def decompose(question: str, thinking: str, dialogue: Dialogue
                    ) -> tuple[tuple[Step, ...], float]:
    """The steps into which the teacher segments T, in windows where it is long, and the share of T
    that they hold.

    In every window but the last, the last step is dropped and its text opens the next window, so
    that windows meet where a step ends. Complete steps of a cut reply are kept, and the next
    request continues after them. Raises Rejection."""
    options = dialogue.options
    skills = options.decompose == "skill"
    prompt = "decompose_skill" if skills else "decompose_default"
    windows = Windows(thinking, dialogue.count)
    accepted: list[cuts.Located] = []
    at, part, limit = 0, 0, options.window_tokens
    while at < len(thinking):
        part += 1
        end = len(thinking) if dialogue.tokens <= limit else windows.end(at, limit)
        text, more = thinking[at:end], end < len(thinking)
        message = dialogue.prompts.render(prompt, question=question, reasoning=text.strip(),
                                          part=part, more=more)
        try:
            found = await dialogue.ask("decompose", message, partial(
                _checked, text=text, skills=skills, least=options.min_coverage),
                check_cut=partial(_check_cut, text, skills=skills))
            if more:
                found = _before_last(found)
        except CutReply as cut:
            found = _whole_steps(text, cut.reply.text, skills)
            if not found:
                limit = min(limit, windows.count_tokens(at, end)) // 2
                if limit < _SMALLEST_WINDOW or \
                        windows.units_until(end - 1) <= windows.units_until(at):
                    raise cut.rejection("decompose", "even for a small part") from None
                continue
            more = True
        found = [step if not at or step.start is None or step.end is None else
                 step._replace(start=step.start + at, end=step.end + at) for step in found]
        accepted += found
        at = next((step.end for step in reversed(found) if step.end is not None), end) \
            if more else end
        at += len(thinking[at:]) - len(thinking[at:].lstrip())
    steps = cuts.as_steps([{"index": index, **step._asdict()}
                           for index, step in enumerate(accepted, start=1)])
    share = cuts.coverage(thinking, accepted)
    if share < options.min_coverage:
        raise Rejection("decompose", Reason.LOW_COVERAGE, f"the steps hold {share:.0%} of the "
                        f"thinking, less than {options.min_coverage:.0%}")
    return steps, share


def _checked(reply: str, text: str, skills: bool, least: float) -> list[cuts.Located]:
    located = cuts.locate(text, cuts.parse_steps(reply, skills=skills))
    share = cuts.coverage(text, located)
    if share < least:
        raise FormatError(f"the steps hold only {share:.0%} of the text, word for word. Missing, "
                          f'for example: "{cuts.first_gap(text, located)}"', Reason.LOW_COVERAGE)
    return located


def _check_cut(text: str, reply: str, skills: bool) -> None:
    if not _whole_steps(text, reply, skills):
        Dialogue.check_loop(reply, text)


def _before_last(found: list[cuts.Located]) -> list[cuts.Located]:
    """Without the last step, so that the new last one has a known place."""
    kept = found[:-1]
    while kept and kept[-1].end is None:
        kept = kept[:-1]
    return kept or found


def _whole_steps(text: str, reply: str, skills: bool) -> list[cuts.Located]:
    """The steps of a cut reply that are complete and without a gap."""
    try:
        labelled = cuts.parse_steps(reply, skills=skills)[:-1]
    except FormatError:
        return []
    whole: list[cuts.Located] = []
    at = 0
    for place in cuts.locate(text, labelled):
        if place.start is None or place.end is None or cuts.nonspace(text[at : place.start]) > 40:
            break
        whole.append(place)
        at = place.end
    return whole
