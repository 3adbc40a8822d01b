"""Mistakes that the user can mend."""

import contextlib
import difflib
import json
import shlex
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from drp_plugin.redact import redact
from drp_plugin.resources import table

#: What the core does without, by the extra that brings it.
EXTRAS: dict[str, str] = table("extras.yaml")


class UserError(Exception):
    """Something the user gave is wrong: the file (and row), what it is, and how to mend it. The
    command line prints it as one line and exits with 2; no key is in it."""

    def __init__(self, what: str, *, fix: str = "", file: str | Path | None = None,
                 row: int | None = None) -> None:
        where = "" if file is None else f"{file}: " if row is None else f"{file}: row {row}: "
        end = " " if what.endswith("?") else ". "
        text = where + what.strip().rstrip(".") + (end + fix.strip() if fix else "")
        super().__init__(redact(text))


def meant(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """`Did you mean 'x'?` with the nearest known word; `otherwise` where none is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"Did you mean {near[0]!r}?" if near else otherwise


def install(extra: str) -> str:
    """How to install an extra from where this package came from, as PEP 610 notes it."""
    from importlib import metadata

    place, flag = "drp-plugin", ""
    with contextlib.suppress(metadata.PackageNotFoundError, ValueError, LookupError):
        noted = json.loads(metadata.distribution(place).read_text("direct_url.json") or "{}")
        if noted["url"].startswith("file://"):
            place = urllib.parse.unquote(noted["url"].removeprefix("file://"))
            flag = "-e " * bool(noted.get("dir_info", {}).get("editable"))
    return f"pip install {flag}{shlex.quote(f'{place}[{extra}]')}"


def absent(error: ModuleNotFoundError) -> UserError | None:
    """The line about a missing module of an extra; None where something else is broken."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    return UserError(f"this needs {module}, which is not installed", fix=install(EXTRAS[module]))


def refusal(error: Exception) -> str:
    """One line about the user's mistake or the operating system's refusal, the file first."""
    if not isinstance(error, OSError):
        return str(error)
    what = " ".join((error.strerror or str(error) or type(error).__name__).split())
    return what if error.filename is None else f"{error.filename}: {what}"
