"""JSONL in and out: `-` is standard input or output, files appear complete or not at all."""

import codecs
import contextlib
import glob
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from pydantic import ValidationError

from drp_plugin.errors import UserError
from drp_plugin.records import Record
from drp_plugin.redact import hide
from drp_plugin.resources import table
from drp_plugin.run_dir import FILES, SETTINGS

R = TypeVar("R", bound=Record)

MAX_ROW = 64 << 20  # Bytes of the longest row: a file without a line end for so long is not JSONL
MAX_DEPTH = 100  # Lists and objects within each other, which can all be written again
#: NaN is not JSON, but pandas writes it for a missing value; so infinite is one, and so is 1e400.
FINITE: dict[str, Any] = dict.fromkeys(("parse_float", "parse_constant"), lambda text: (
    number if abs(number := float(text)) < float("inf") else None))
_COMMANDS = re.compile("[\x7f-\x9f]")  # Of terminals; JSON itself escapes the others


class Row(NamedTuple):
    """A line of a JSONL file: its number from 1, and its object or what is wrong with it."""

    number: int
    value: dict[str, Any] | None
    error: str | None
    text: str


def check_file(path: str | Path) -> None:
    """Raises UserError for a device or a named pipe, which may have no end, or no beginning. A
    shell's pipes, `-` and `<(…)`, can be read, and so can a terminal as `-`, and /dev/null."""
    own, shells = str(path) == "-", str(path).startswith(("/dev/", "/proc/"))
    try:
        found = os.stat(sys.stdin.fileno() if own else path)
        nothing = os.path.samestat(found, os.stat(os.devnull))
    except (OSError, ValueError, AttributeError):  # opening it will say what is wrong
        return
    device = stat.S_ISCHR(found.st_mode) and not nothing and not (own and sys.stdin.isatty())
    if device or stat.S_ISBLK(found.st_mode) or (
            stat.S_ISFIFO(found.st_mode) and not own and not shells):
        raise UserError("is a device or a named pipe, not a file", file=path,
                        fix="Give a file, or - for what a pipe brings to standard input")


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    check_file(path)
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        with open(path, "rb") as file:
            if file.peek(4)[:4].startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE,
                                            codecs.BOM_UTF32_BE)):  # UTF-32's other one is UTF-16's
                raise UserError("is UTF-16 or UTF-32, not UTF-8 text", file=path,
                                fix="Convert it to UTF-8")
            yield file
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(table("refused.yaml")[type(error).__name__], file=path) from None


def rows(path: str | Path) -> Iterator[Row]:
    """Every line that is not blank, a bad one with its error. Raises UserError for the file."""
    with opened(path) as file:
        for number, line in lines(file, path):
            yield parse(number, line)


def lines(file: IO[bytes], path: str | Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, numbered from 1; raises UserError at one without an end."""
    for number, line in enumerate(chunks(file, path), start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line


def chunks(file: IO[bytes], path: str | Path) -> Iterator[bytes]:
    """All bytes, line by line; raises UserError at a line without an end."""
    for number, line in enumerate(iter(lambda: file.readline(MAX_ROW + 1), b""), start=1):
        if len(line) > MAX_ROW:
            raise UserError(f"is longer than {MAX_ROW >> 20} MiB and has no end", file=path,
                            row=number, fix="In JSONL every row is a line of its own")
        yield line


def parse(number: int, line: bytes) -> Row:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Row(number, None, f"not UTF-8 text (byte {error.start + 1} of the row)",
                   line.decode("utf-8", "replace").rstrip("\r\n"))
    try:
        value = loads(text, **FINITE)
    except ValueError as error:
        return Row(number, None, f"not JSON ({error})", text.rstrip("\r\n"))
    return row_of(number, value, text.rstrip("\r\n"))


def row_of(number: int, value: Any, text: str) -> Row:
    """A row with this value, or with what is wrong with it."""
    if not isinstance(value, dict):
        return Row(number, None, "not a JSON object", text)
    if text.count("[") + text.count("{") > MAX_DEPTH and _too_deep(value):
        return Row(number, None, f"nested more than {MAX_DEPTH} deep", text)
    return Row(number, value, None, text)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for part in level if isinstance(part, dict | list)
                 for child in (part.values() if isinstance(part, dict) else part)]
    return bool(level)


def loads(text: str | bytes, **how: Any) -> Any:
    """JSON of unknown origin. Raises ValueError for whatever cannot be read, also for what is
    nested deeper than Python reads, or for a number of thousands of digits."""
    try:
        return json.loads(text, **how)
    except RecursionError:
        raise ValueError("nested too deep") from None


def explain(error: ValidationError) -> str:
    """The first thing that pydantic found wrong, in one line."""
    first = error.errors()[0]
    field, text = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    said = table("explained.yaml").get(first["type"], f": {text}")
    return f"field {field!r}{said}" if field else text  # a check of several fields names them


def read(path: str | Path, record: type[R]) -> Iterator[R]:
    """Every row as `record`; raises UserError naming file and row at the first bad one."""
    for row in rows(path):
        if row.value is None:
            raise UserError(row.error or "bad row", file=path, row=row.number)
        try:
            yield record.model_validate(row.value)
        except ValidationError as error:
            raise UserError(explain(error), file=path, row=row.number) from None


def encodable(text: str) -> str:
    """`text` without lone surrogates, which json.loads lets in and UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def dumps(value: Record | dict[str, Any]) -> str:
    """One line of JSON, keys in the record's order, Unicode kept."""
    if isinstance(value, Record):
        value = value.model_dump(mode="json")
    return encodable(json.dumps(value, ensure_ascii=False))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, PermissionError)
    return True


def private(path: str | Path, flags: int) -> int:
    """What `open` takes as its opener: a file that it makes is the owner's alone."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def replacing(path: str | Path, *, private: bool = True) -> Iterator[IO[str]]:
    """A text file that replaces `path` when the block ends without an exception.
    Where it is `private`, nobody else may read it, unless the file before it let them."""
    path = Path(path)
    if path.is_symlink():  # its target is replaced, not the link
        path = path.resolve()
    if path.exists() and not path.is_file():
        raise UserError("is not a file, and is not replaced by one", file=path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if (pid := left.name.split(".")[-2]).isdecimal() and not alive(int(pid)):
            left.unlink(missing_ok=True)  # of a process that was killed
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        mode = 0o666 if not private else path.stat().st_mode & 0o777 if path.exists() else 0o600
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        # bytes of a path that are no text become escapes, which JSON can read back
        with open(opened, "w", encoding="utf-8", errors="backslashreplace") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: str | Path) -> Any:
    """A file's one value. Raises OSError and ValueError, and UserError for what is no file."""
    check_file(path)
    return loads(Path(path).read_text("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write one value, to be read by people too, in one atomic move, without keys."""
    with replacing(path) as file:
        file.write(hide(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def write(path: str | Path, values: Iterable[Record | dict[str, Any]]) -> int:
    """Write a JSONL file in one atomic move (or to standard output); returns the rows written."""
    count = 0
    with contextlib.nullcontext() if str(path) == "-" else replacing(path) as file:
        for value in values:
            line = dumps(value) + "\n"
            count += 1
            if file is None:  # it may be a terminal, or have an encoding other than JSON's
                line = _COMMANDS.sub(lambda c: f"\\u{ord(c[0]):04x}", line)
                sys.stdout.buffer.write(line.encode())
            else:
                file.write(line)
    return count


def check_output(output: str | Path, given: str | Path = "-", begins: bytes = b"{") -> None:
    """Raises UserError where a file cannot be written there, before any work is done; so also for
    the `given` input, a file of a run, and one that does not begin as what is to be written."""
    path = Path(output)
    if str(output) == "-":
        return
    if path.is_dir():
        raise UserError("is a folder", file=output, fix=f"Give a file, e.g. {path / 'out.jsonl'}")
    if path.exists() and not path.is_file():
        raise UserError("is not a file", file=output, fix="Give a file, or - for standard output")
    if path.exists():
        with path.open("rb") as file:
            begun = file.read(64).lstrip().lower()
        what = ("is the input" if Path(given).exists() and path.samefile(given) else
                "belongs to a run" if path.name in FILES and (path.parent / SETTINGS).exists() else
                "holds something else" if begun and not begun.startswith(begins) else "")
        if what:
            raise UserError(f"{what}, and is not replaced", file=output, fix="Give another -o")
    check_folder(path.resolve().parent)


def check_folder(folder: Path, fix: str = "Give another place with -o") -> None:
    """Raises UserError where this folder cannot be made or written to."""
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists() or p.is_symlink())
    if not there.is_dir():
        raise UserError("is a file, not a folder to write to", file=there, fix=fix)
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError("cannot be written to: permission denied", file=there, fix=fix)
