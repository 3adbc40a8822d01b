"""Where input lies: files, patterns of files, and whatever fsspec reaches (`s3://`, `gs://`, …)."""

import contextlib
import glob
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.redact import holds_a_secret

T = TypeVar("T")
_PATTERN = frozenset("*?[")


def is_address(path: str | Path) -> bool:
    """Whether it is for fsspec to open."""
    return "://" in str(path)


def files(given: str | Path) -> list[str | Path]:
    """The files that a path, a pattern (`traces/*.parquet`) or an address stands for, those of a
    pattern in the order of their names. Raises UserError where there is none."""
    text = str(given)
    if is_address(text):
        if holds_a_secret(text) or "@" in text.partition("://")[2].split("/")[0]:
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
