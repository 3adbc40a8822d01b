"""Cutting a long T into parts that one request can hold."""

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from drp_plugin.segment import Span, units


class Windows:
    """Parts of a text, each at most so many tokens, that end where a unit ends."""

    def __init__(self, text: str, count: Callable[[str], int],
                 spans: tuple[Span, ...] | None = None) -> None:
        self.text = text
        self.spans = units(text, "sentence") if spans is None else spans
        self._ends = [span.end for span in self.spans]
        self._tokens = [0, *accumulate(count(text[s.start : s.end]) for s in self.spans)]

    def end(self, start: int, limit: int) -> int:
        """Where the part that begins at character `start` ends. At least one unit; where the text
        goes on, the end of a paragraph in the part's last quarter is preferred."""
        first = bisect_right(self._ends, start)
        if first >= len(self.spans):
            return len(self.text)
        base = self._tokens[first]
        last = max(first, bisect_right(self._tokens, base + limit) - 2)
        if last >= len(self.spans) - 1:
            return len(self.text)
        floor = base + (self._tokens[last + 1] - base) * 3 // 4
        for index in range(last, first, -1):
            if self._tokens[index + 1] < floor:
                break
            span = self.spans[index]
            if "\n\n" in self.text[max(span.start, span.end - 8) : span.end]:
                return span.end
        return self.spans[last].end

    def units_until(self, position: int) -> int:
        """How many units end at or before character `position`."""
        return bisect_right(self._ends, position)

    def count_tokens(self, start: int, end: int) -> int:
        """Tokens of the units that the part touches."""
        first, last = self.units_until(start), self.units_until(end - 1)
        return self._tokens[min(last + 1, len(self.spans))] - self._tokens[first]
