"""Jinja prompts: files in `prompts/`, or in the user's folder first."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2

from drp_plugin.errors import UserError
from drp_plugin.resources import resource


class Prompts:
    """The prompt templates; a file in `override` wins over the shipped one of that name.

    A variable that a template names and the caller does not give is an error (StrictUndefined),
    never an empty string in a paid request.
    """

    def __init__(self, override: Path | None = None) -> None:
        if override is not None and not override.is_dir():
            raise UserError("no such folder of prompts", file=override,
                            fix="Give a folder with *.jinja files, or leave --prompts out")
        self.folders = [f for f in (override, resource("prompts")) if f is not None]
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader([str(f) for f in self.folders]),
            undefined=jinja2.StrictUndefined, autoescape=False,
            keep_trailing_newline=False, trim_blocks=True, lstrip_blocks=True,
        )

    def render(self, name: str, /, **variables: Any) -> str:
        """The text of `prompts/<name>.jinja` with these variables.

        Raises UserError when the template is missing, broken, or names an unknown variable.
        """
        file = f"{name}.jinja"
        try:
            return self._environment.get_template(file).render(**variables).strip()
        except jinja2.TemplateNotFound as error:
            raise UserError(f"prompt {error.name} is missing", file=self.folders[0]) from None
        except jinja2.UndefinedError as error:
            raise UserError(f"prompt {file}: {error}",
                            fix=f"It may use: {', '.join(sorted(variables))}") from None
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"prompt syntax: {error.message}", file=error.filename,
                            row=error.lineno) from None

    @cached_property
    def hash(self) -> str:
        """Twelve hex digits over the prompts in force for teachers: all but the next one's."""
        return self._digest(evaluation=False)

    @cached_property
    def evaluation_hash(self) -> str:
        """The same over the prompts for students: `eval_*` and `chat_*`."""
        return self._digest(evaluation=True)

    def _digest(self, *, evaluation: bool) -> str:
        texts: dict[str, bytes] = {}
        for folder in reversed(self.folders):
            texts.update({f.name: f.read_bytes() for f in sorted(folder.glob("*.jinja"))
                          if f.name.startswith(("eval_", "chat_")) == evaluation})
        digest = hashlib.sha256()
        for name in sorted(texts):
            digest.update(name.encode() + b"\0" + texts[name] + b"\0")
        return digest.hexdigest()[:12]
