"""YAML that a user gives: bounded, and every mistake one line."""

import re
from pathlib import Path
from typing import Any

import yaml

from drp_plugin.errors import UserError
from drp_plugin.jsonl import opened

LONGEST = 1 << 20  # Bytes of a file
MOST = 100_000  # Values of a file; those that aliases repeat are counted again
_NO_NUMBER = re.compile(r"[-+]?0[0-7_]*[1-7]|[^.]*:")
"""What YAML 1.1 takes for an octal number (010 is 8) or one of base 60 (1:30 is 90)."""


class _Loader(yaml.SafeLoader):
    """Refuses what is read otherwise than it looks. Merges (`<<`) repeat as aliases do."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node, seen = super().compose_mapping_node(anchor), set[Any]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge"):
                if (value := self.construct_object(key)) in seen:
                    raise _fault(key, "the key {!r} is given twice")
                seen.add(value)
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        if node.tag.endswith((":int", ":float")) and _NO_NUMBER.match(node.value):
            raise _fault(node, "{} is no plain number: write a text in quotes, a number without "
                               "leading 0 or colon")
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST:
            raise ValueError(f"merges make more than {MOST:,} values of it")


def _fault(node: yaml.ScalarNode, what: str) -> ValueError:
    return ValueError(f"line {node.start_mark.line + 1}: {what.format(node.value[:80])}")


def parse(text: str) -> Any:
    """What a text in YAML holds: plain values alone. Raises ValueError, in one line."""
    try:
        value = yaml.load(text, _Loader)  # a SafeLoader, which makes no objects
        _count(value)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except (yaml.YAMLError, TypeError, OverflowError, LookupError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    return value


def load(path: str | Path) -> Any:
    """What a file holds. Raises UserError."""
    try:
        with opened(path) as file:
            text = file.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise ValueError(f"it is longer than {LONGEST:,} bytes")
        return parse(text.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read ({error.__class__.__name__})", file=path) from None
    except ValueError as error:
        raise UserError(f"not YAML ({error})", file=path) from None


def _count(value: Any) -> None:
    count, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        if (count := count + 1) > MOST:
            raise ValueError(f"aliases make more than {MOST:,} values of it")
        if isinstance(part, dict):
            waiting += (*part, *part.values())
        elif isinstance(part, list | tuple | set):
            waiting += part
        elif isinstance(part, str) and "\0" in part:
            raise ValueError("a text with a NUL in it")
