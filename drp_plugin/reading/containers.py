"""Where input lies, and the rows of a file, whatever it is packed in.

Input is files, patterns of files, and whatever fsspec reaches (`s3://`, `gs://`, …). Rows come one
at a time, so that memory stays flat."""

import codecs
import contextlib
import csv
import glob
import gzip
import io
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from drp_plugin import jsonl, resources
from drp_plugin.errors import UserError, install
from drp_plugin.jsonl import MAX_ROW, Row
from drp_plugin.reading.layouts import CONVERSATIONS, FIELDS, at, is_message
from drp_plugin.redact import holds_a_secret

T = TypeVar("T")
_PATTERN = frozenset("*?[")


def is_address(path: str | Path) -> bool:
    """Whether fsspec has to open it."""
    return "://" in str(path)


def files(given: str | Path) -> list[str | Path]:
    """The files that a path, a pattern (`traces/*.parquet`) or an address stands for, those of a
    pattern in the order of their names. Raises UserError where there is none."""
    text = str(given)
    if is_address(text):
        if holds_a_secret(text):
            raise UserError("an address of input holds a key or a password, and addresses are "
                            "stored", fix="Leave it out; fsspec takes it from the environment")
        found = _remote(text, lambda fs, path: sorted(map(fs.unstrip_protocol, fs.glob(path)))) \
            if _PATTERN & set(text) else [text]
    elif text != "-" and not Path(text).exists() and _PATTERN & set(text):
        found = sorted(name for name in glob.glob(text, recursive=True) if Path(name).is_file())
    else:
        return [given]
    if not found:
        raise UserError("no file has a name of this pattern", file=text, fix="Check the path")
    return list(found)


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """A file, standard input (`-`) or an address, to be read. Raises UserError."""
    if not is_address(path):
        with jsonl.opened(path) as local:
            yield local
        return
    with _remote(str(path), lambda fs, inside: fs.open(inside, "rb")) as file:
        yield io.BufferedReader(file)


def _remote(address: str, use: Callable[[Any, str], T]) -> T:
    import fsspec

    try:
        return use(*fsspec.core.url_to_fs(address))
    except FileNotFoundError:
        raise UserError("no such file", file=address, fix="Check the address") from None
    except Exception as error:  # each file system raises its own
        raise UserError(f"cannot be read ({type(error).__name__}: {error})", file=address,
                        fix="Check the address, and what fsspec needs for it") from None


_CHUNK = 1 << 16
_BETWEEN = re.compile(r"[\s,]*")
_PACKED = {b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip (as .xlsx and .npz are)",
           b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x04\x22\x4d\x18": "lz4"}
_OTHERS = {
    b"version https://git-lfs": ("is a pointer of Git LFS, not the file", "Fetch it: git lfs pull"),
    b"SQLite format 3": ("is a database of SQLite", "Write its rows as JSONL"),
    b"<": ("is a web page, or XML", "Fetch the file itself")}
_TABLES = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"\xff\xff\xff\xff": "Arrow's stream"}
_HEADS = frozenset(name for field in ("question", "response") for name in FIELDS[field])


def rows(path: str | Path) -> Iterator[Row]:
    """A file's rows, bad ones with errors; a whole table is its rows. Raises UserError."""
    more = 0
    try:
        with opened(path) as file:
            for row in _rows(file, path):
                found = _inside(row.value) if row.value else []
                for value in found:
                    yield jsonl.row_of(row.number + more, value, jsonl.dumps(value))
                    more += 1
                if not found:
                    yield row._replace(number=row.number + more)
                more -= bool(found)
    except OSError as error:
        error.filename = error.filename or str(path)  # a broken disk names no file
        raise


def _inside(value: dict[str, Any]) -> list[dict[str, Any]]:
    """An object's rows: columns, rows by name, or a list under one name; empty for a row."""
    parts = list(value.values())
    rows: Any = []
    if value.keys() & set(FIELDS["question"]):
        columns = [list(part.values()) if isinstance(part, dict) else part for part in parts]
        if all(isinstance(column, list) and not any(map(is_message, column)) for column in columns):
            rows = [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)] \
                if len(parts) > 1 and len(set(map(len, columns))) == 1 else []
    elif all(isinstance(part, dict) and part.keys() == parts[0].keys() for part in parts):
        rows = [{"id": name, **part} for name, part in value.items()] \
            if len(parts) > 1 or next(iter(value)).isdecimal() else []
    elif not any(at(value, name) for name in (*FIELDS["question"], *CONVERSATIONS)):
        rows = next((value[name] for name in resources.layouts("tables") if value.get(name)), [])
    return rows if isinstance(rows, list) and all(
        isinstance(row, dict) and not is_message(row) for row in rows) else []


def _rows(file: Any, path: str | Path, unpacked: bool = False) -> Iterator[Row]:
    if not hasattr(file, "peek"):
        file = io.BufferedReader(file)
    head: bytes = file.peek(64)[:64].removeprefix(codecs.BOM_UTF8).lstrip()
    packed = next((name for magic, name in _PACKED.items() if head.startswith(magic)), None)
    if head.startswith(b"\x1f\x8b") and not unpacked:
        try:
            yield from _rows(io.BufferedReader(gzip.GzipFile(fileobj=file)), path, unpacked=True)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"is damaged: {error}", file=path,
                            fix="Fetch or pack it again") from None
    elif packed or head.startswith(b"\x1f\x8b"):
        raise UserError(f"is packed by {packed or 'gzip twice'}, which is not read", file=path,
                        fix="Unpack it, or pack it by gzip")
    elif other := next((other for magic, other in _OTHERS.items() if head.startswith(magic)), None):
        raise UserError(other[0], file=path, fix=other[1])
    elif table := next((name for magic, name in _TABLES.items() if head.startswith(magic)), None):
        yield from _table(file, path, table)
    elif head.startswith(b"[") or head.startswith((b"{\n", b"{\r\n")):
        yield from _array(file, path, listed=head.startswith(b"["))
    elif not head.startswith(b"{") and (sign := _separator(file, path)):
        yield from _csv(file, path, sign)
    else:
        for number, line in jsonl.lines(file, path):
            yield jsonl.parse(number, line)


def _separator(file: Any, path: str | Path) -> str:
    """What separates the cells of a CSV file, by its name or its head; empty where it is none."""
    line = file.peek(_CHUNK).partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    sign = "\t" if "\t" in line else max(",;", key=line.count)  # spreadsheets of some languages
    named = re.search(r"\.(csv|tsv)\b", Path(path).name.lower())
    cells = {cell.strip(' "').lower() for cell in line.split(sign)}
    return sign if len(cells) > 1 and (named or cells & _HEADS) else ""


def _csv(file: Any, path: str | Path, sign: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_ROW)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    number = 0
    try:
        for number, cells in enumerate(csv.DictReader(text, delimiter=sign, strict=True), start=1):
            row = jsonl.parse(number, json.dumps(cells, default=str, skipkeys=True).encode())
            yield Row(number, None, "more cells than the head", row.text) if None in cells else row
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"is a damaged CSV file: {error}", file=path, row=number + 1,
                        fix="Write it again as UTF-8, or give JSONL") from None
    text.detach()  # or it closes standard input


def _table(file: IO[bytes], path: str | Path, kind: str) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"is {kind}, and the package pyarrow is not installed", file=path,
                        fix=f"{install('parquet')}, or give it as JSONL") from None
    with tempfile.TemporaryFile() as copy:
        if not file.seekable():
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            file = copy
        number = 0
        try:
            if kind == "Arrow":
                whole = pyarrow.ipc.open_file(file)
                batches = map(whole.get_batch, range(whole.num_record_batches))
            else:
                batches = parquet.ParquetFile(file).iter_batches(64) if kind == "Parquet" else \
                    pyarrow.ipc.open_stream(file)
            for batch in batches:
                for value in batch.to_pylist():
                    number += 1
                    yield jsonl.parse(number, json.dumps(value, default=plain).encode())
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"is a damaged {kind} file: {error}", file=path,
                            fix="Fetch it again") from None


def plain(value: Any) -> str:
    """What JSON has no type for, such as a date, as text; bytes as the text that they are."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _array(file: IO[bytes], path: str | Path, listed: bool = True) -> Iterator[Row]:
    """Elements of a JSON array, or objects in a row, up to the first that is no JSON."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig")
    decoder = json.JSONDecoder(**jsonl.FINITE)
    number, at = 0, 0

    def more() -> str:
        try:
            return text.read(max(_CHUNK, len(buffer) - at))
        except UnicodeDecodeError:
            raise UserError("is not UTF-8 text", file=path, row=number + 1) from None

    def broken(why: object) -> UserError:
        return UserError(f"not JSON ({why})", file=path, row=number + 1,
                         fix="Nothing after it can be read: correct the array, or give JSONL")

    buffer = ""
    buffer = more().lstrip()[listed:]
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
        if buffer.startswith("]", at) and listed:
            rest = (buffer[at + 1:] + text.read(_CHUNK)).strip()
            if rest:
                raise broken("something follows the array")
            text.detach()  # or this would close standard input
            return
        problem: Exception | str = "the array is not closed" if listed else ""
        if at < len(buffer):
            try:
                value, end = decoder.raw_decode(buffer, at)
            except json.JSONDecodeError as error:  # or it continues in what was not read yet
                problem = error
            except (RecursionError, ValueError) as error:
                raise broken(error) from None
            else:
                number += 1
                yield jsonl.row_of(number, value, buffer[at:end])
                at = end
                continue
        chunk = "" if len(buffer) - at > MAX_ROW else more()
        if not chunk and not problem:
            text.detach()
            return
        if not chunk:
            raise broken(problem)
        buffer, at = buffer[at:] + chunk, 0
