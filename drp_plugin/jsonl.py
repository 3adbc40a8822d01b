"""JSONL in and out: `-` is standard input or output, files appear whole or not at all."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from pydantic import ValidationError

from drp_plugin.errors import UserError
from drp_plugin.records import Record

R = TypeVar("R", bound=Record)


class Row(NamedTuple):
    """A line of a JSONL file: its number from 1, and its object or what is wrong with it."""

    number: int
    value: dict[str, Any] | None
    error: str | None
    text: str


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[IO[bytes]]:
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        with open(path, "rb") as file:
            if file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise UserError("is UTF-16, not UTF-8 text", file=path, fix="Convert it to UTF-8")
            yield file
    except FileNotFoundError:
        raise UserError("no such file", file=path, fix="Check the path") from None
    except IsADirectoryError:
        raise UserError("is a folder, not a JSONL file", file=path) from None
    except PermissionError:
        raise UserError("cannot be read: permission denied", file=path) from None


def rows(path: str | Path) -> Iterator[Row]:
    """Every line that is not blank; a bad line is yielded with its error, not raised.

    Raises UserError when the file cannot be read at all.
    """
    with _opened(path) as file:
        for number, raw in enumerate(file, start=1):
            line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
            if line.strip():
                yield _row(number, line)


def _row(number: int, line: bytes) -> Row:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Row(number, None, f"not UTF-8 text (byte {error.start + 1} of the row)",
                   line.decode("utf-8", "replace").rstrip("\r\n"))
    try:
        # NaN is no JSON, but what pandas writes for a missing value
        value = json.loads(text, parse_constant=lambda name: None)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        return Row(number, None, f"not JSON ({error})", text.rstrip("\r\n"))
    if isinstance(value, dict):
        return Row(number, value, None, text)
    return Row(number, None, "not a JSON object", text.rstrip("\r\n"))


def explain(error: ValidationError) -> str:
    """The first thing that pydantic found wrong, in one line."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"field {field!r} is missing"
    return f"field {field!r}: {first['msg']}"


def read(path: str | Path, record: type[R]) -> Iterator[R]:
    """Every row as `record`; raises UserError naming file and row at the first bad one."""
    for row in rows(path):
        if row.value is None:
            raise UserError(row.error or "bad row", file=path, row=row.number)
        try:
            yield record.model_validate(row.value)
        except ValidationError as error:
            raise UserError(explain(error), file=path, row=row.number) from None


def dumps(value: Record | dict[str, Any]) -> str:
    """One line of JSON, keys in the record's order, Unicode kept."""
    if isinstance(value, Record):
        value = value.model_dump(mode="json")
    # lone surrogates, which json.loads lets in, cannot be written as UTF-8
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")


@contextlib.contextmanager
def replacing(path: str | Path, *, private: bool = False) -> Iterator[IO[str]]:
    """A text file that takes the place of `path` when the block ends without an exception.

    With `private` nobody else may read it, unless the file before it let them.
    """
    path = Path(path)
    if path.is_symlink():  # what it points to is replaced, not the link
        path = path.resolve()
    if path.exists() and not path.is_file():
        with open(path, "w", encoding="utf-8") as file:  # a device or pipe must not be replaced
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        mode = 0o666 if not private else path.stat().st_mode & 0o777 if path.exists() else 0o600
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with open(opened, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: str | Path, values: Iterable[Record | dict[str, Any]]) -> int:
    """Write a JSONL file in one atomic move (or to standard output); returns the rows written."""
    count = 0
    with contextlib.ExitStack() as stack:
        file = sys.stdout if str(path) == "-" else stack.enter_context(replacing(path))
        for value in values:
            file.write(dumps(value) + "\n")
            count += 1
    return count
