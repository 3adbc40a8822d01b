"""Where input lies, and the rows of a file, whatever it is packed in.

Input is files, patterns of files, and whatever fsspec reaches (`s3://`, `gs://`, …). Rows come one
at a time, so that memory stays flat.
"""

import codecs
import contextlib
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

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.jsonl import MAX_ROW, Row
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
    try:
        import fsspec
    except ImportError:
        raise UserError("is an address, and the package fsspec is not installed", file=address,
                        fix="pip install 'drp-plugin[remote]', or give a local copy") from None
    try:
        return use(*fsspec.core.url_to_fs(address))
    except FileNotFoundError:
        raise UserError("no such file", file=address, fix="Check the address") from None
    except Exception as error:  # each file system raises its own
        raise UserError(f"cannot be read ({type(error).__name__}: {error})", file=address,
                        fix="Check the address, and what fsspec needs for it") from None


_CHUNK = 1 << 16
_BETWEEN = re.compile(r"[\s,]*")
_PACKED = {b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz",
           b"\x04\x22\x4d\x18": "lz4"}
_OTHERS = {
    b"version https://git-lfs": ("is a pointer of Git LFS, not the file", "Fetch it: git lfs pull"),
    b"ARROW1": ("is an Arrow file", "Give it as Parquet or JSONL"),
    b"<": ("is a web page, or XML", "Fetch the file itself")}


def rows(path: str | Path) -> Iterator[Row]:
    """Every row of a file, a bad one with its error. Raises UserError for an unreadable file."""
    with opened(path) as file:
        yield from _rows(file, path)


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
    elif head.startswith(b"PAR1"):
        yield from _parquet(file, path)
    elif head.startswith(b"["):
        yield from _array(file, path)
    else:
        for number, line in jsonl.lines(file, path):
            yield jsonl.parse(number, line)


def _parquet(file: IO[bytes], path: str | Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError("is Parquet, and the package pyarrow is not installed", file=path,
                        fix="pip install 'drp-plugin[parquet]', or give it as JSONL") from None
    with tempfile.TemporaryFile() as copy:
        if not file.seekable():
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            file = copy
        number = 0
        try:
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=64):
                for value in batch.to_pylist():
                    number += 1
                    # what JSON has no type for, such as a date, becomes text
                    yield jsonl.parse(number, json.dumps(value, default=str).encode())
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"is a damaged Parquet file: {error}", file=path,
                            fix="Fetch it again") from None


def _array(file: IO[bytes], path: str | Path) -> Iterator[Row]:
    """The elements of a JSON array; after invalid JSON no further element can be found."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig")
    decoder = json.JSONDecoder(parse_constant=lambda name: None)
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
    buffer = more().lstrip()[1:]
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
        if buffer.startswith("]", at):
            rest = (buffer[at + 1:] + text.read(_CHUNK)).strip()
            if rest:
                raise broken("something follows the array")
            text.detach()  # or this would close standard input
            return
        problem: Exception | str = "the array is not closed"
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
        if not chunk:
            raise broken(problem)
        buffer, at = buffer[at:] + chunk, 0
