"""Jinja prompts: files in `prompts/`, or in the user's folder first."""

import contextlib
import hashlib
import resource as limits
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from drp_plugin.errors import UserError, meant
from drp_plugin.records import Step
from drp_plugin.resources import resource, table

RENDER_CPU_S, RENDER_BYTES = 2.0, 1 << 28
_LONG = ("wordwrap", "striptags", "urlize", "pprint")
"""Filters for pages, whose regular expressions can take hours; nothing looks at the clock then."""
LONGEST = 2 ** 20  # Bytes of a template
_STUDENTS = ("eval_", "chat_")
_GIVEN = table("prompts.yaml")
_VARIABLES: dict[str, list[str]] = _GIVEN["variables"]
_VALUES = {**_GIVEN["common"], "steps": tuple(Step(**s) for s in _GIVEN["steps"]), "units": tuple(
    SimpleNamespace(index=s["index"], text=s["text"]) for s in _GIVEN["steps"])}


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("*", "**"))

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute in obj:  # a unit, of which there are hundreds
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or (operator == "*" and all(isinstance(x, int) and x.bit_length() > 64
                                                        for x in (left, right))):
            raise ArithmeticError("numbers of that size are no part of a prompt")
        return super().call_binop(context, operator, left, right)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Ends a template that takes more time, or (on Linux) more memory, than any prompt."""
    until, before = time.thread_time() + RENDER_CPU_S, sys.gettrace()
    given = limits.getrlimit(limits.RLIMIT_AS)

    def look(*_: Any) -> Any:
        if time.thread_time() > until:
            raise TimeoutError(f"it computes for more than {RENDER_CPU_S:g} s")
        return look

    with contextlib.suppress(OSError, ValueError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * limits.getpagesize()
        if given[0] == limits.RLIM_INFINITY or given[0] > used + RENDER_BYTES:
            limits.setrlimit(limits.RLIMIT_AS, (used + RENDER_BYTES, given[1]))
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)
        limits.setrlimit(limits.RLIMIT_AS, given)


class Prompts:
    """The prompt templates; a file in `override` wins over the shipped one of that name. A variable
    that the caller does not give is an error, never an empty string in a paid request. Raises
    UserError for a folder that cannot override anything."""

    def __init__(self, override: Path | None = None) -> None:
        self.override = override
        self.folders = [f for f in (override, resource("prompts")) if f is not None]
        self._shipped = {f.stem for f in self.folders[-1].glob("*.jinja")}
        if override is not None:
            self._check_folder(override)
        self._environment = _Sandbox(  # a prompt is a text, not a program
            loader=jinja2.FileSystemLoader([str(f) for f in self.folders]),
            undefined=jinja2.StrictUndefined, autoescape=False,
            keep_trailing_newline=False, trim_blocks=True, lstrip_blocks=True,
            auto_reload=False,  # a run keeps the prompts that it began with
        )
        for name in _LONG:
            del self._environment.filters[name]

    def _check_folder(self, folder: Path) -> None:
        names = sorted(f.name for f in folder.iterdir()) if folder.is_dir() else []
        for name in names:
            if name.endswith(".jinja") and (file := folder / name).exists() \
                    and not (file.is_file() and file.stat().st_size <= LONGEST):
                raise UserError(f"not a text file of up to {LONGEST:,} bytes", file=file)
            # the name of a shipped prompt but for case, dashes or the ending
            meant = name.split(".")[0].lower().replace("-", "_").replace(" ", "_")
            if meant in self._shipped and f"{meant}.jinja" not in names:
                raise UserError("replaces no prompt with this name", file=folder / name,
                                fix=f"Call it {meant}.jinja")
        if not any(name.endswith(".jinja") for name in names):
            what = "holds no *.jinja file" if folder.is_dir() else "no such folder of prompts"
            raise UserError(what, file=folder,
                            fix="Give a folder with *.jinja files, or leave --prompts out")

    def check(self, needed: Iterable[str]) -> None:
        """Try prompts before anything is paid for; raises UserError, also for unused files."""
        used = self._in_force(evaluation=False)
        for file in sorted(self._own()):
            stem = file.removesuffix(".jinja")
            if file not in used and stem not in self._shipped and not stem.startswith(_STUDENTS):
                names = sorted(n for n in self._shipped if not n.startswith(_STUDENTS))
                raise UserError(f"no prompt is called {stem!r}", file=self._path(file),
                                fix=meant(stem, names, f"They are: {', '.join(names)}"))
        for name in needed:
            for trial in ({**_VALUES, **own} for own in _GIVEN["trials"]):
                if not self.render(name, **{v: trial[v] for v in _VARIABLES[name]}):
                    raise UserError("is an empty prompt", file=self._path(f"{name}.jinja"))

    def render(self, name: str, /, **variables: Any) -> str:
        """The text of `prompts/<name>.jinja` with these variables. Raises UserError."""
        file = f"{name}.jinja"
        try:
            with _bounded() if self.override else contextlib.nullcontext():
                return self._environment.get_template(file).render(**variables).strip()
        except jinja2.TemplateNotFound as error:
            raise UserError(f"prompt {error.name} is missing", file=self.folders[0]) from None
        except jinja2.UndefinedError as error:
            raise UserError(f"prompt {file}: {error}", file=self._path(file),
                            fix=f"It may use: {', '.join(sorted(variables))}") from None
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"prompt syntax: {error.message}", file=error.filename,
                            row=error.lineno) from None
        except UnicodeDecodeError:
            raise UserError("this prompt, or one that it includes, is not UTF-8 text",
                            file=self._path(file), fix="Convert it to UTF-8") from None
        except Exception as error:  # whatever the template's expressions raise
            raise UserError(f"prompt {file}: {type(error).__name__}: {error}",
                            file=self._path(file)) from None

    def origin(self, name: str) -> str:
        """A prompt's name where it is shipped, the path of its file where it is the user's own."""
        own = self.override and self.override / f"{name}.jinja"
        return str(own.resolve()) if own and own.exists() else name

    def _path(self, file: str) -> Path:
        return next((f / file for f in self.folders if (f / file).exists()), self.folders[0])

    @cached_property
    def hash(self) -> str:
        """Twelve hex digits over the teachers' prompts in force: all but `evaluation_hash`'s."""
        return self._digest(evaluation=False)

    @cached_property
    def evaluation_hash(self) -> str:
        """The same over the prompts for students: `eval_*` and `chat_*`."""
        return self._digest(evaluation=True)

    def _digest(self, *, evaluation: bool) -> str:
        digest = hashlib.sha256()
        for name in sorted(self._in_force(evaluation=evaluation)):
            digest.update(name.encode() + b"\0" + self._path(name).read_bytes() + b"\0")
        return digest.hexdigest()[:12]

    def _own(self) -> set[str]:
        return set() if self.override is None else {f.name for f in self.override.glob("*.jinja")}

    def _in_force(self, *, evaluation: bool) -> set[str]:
        """The files that teachers' (or students') prompts are made of, included ones too."""
        own, found = self._own(), set[str]()
        waiting = [f"{name}.jinja" for name in self._shipped]
        if evaluation:  # a protocol may name further prompts
            waiting += own
        waiting = [f for f in waiting if f.startswith(_STUDENTS) == evaluation]
        while waiting:
            if (file := waiting.pop()) in found:
                continue
            found.add(file)
            # `render` reports a template that cannot be read
            with contextlib.suppress(jinja2.TemplateError, UnicodeDecodeError):
                source = self._path(file).read_text("utf-8") if file in own else ""
                names = set(jinja2.meta.find_referenced_templates(self._environment.parse(source)))
                # None is a name known only at rendering: it may be any
                waiting += own if None in names else own.intersection(filter(None, names))
        return found
