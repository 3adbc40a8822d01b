"""One self-contained HTML page: no script, no network, every text escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from drp_plugin.report.excerpts import Excerpt
from drp_plugin.report.layout import Table, shown

if TYPE_CHECKING:
    from drp_plugin.report.figures import Picture


def page(tables: Sequence[Table], pictures: Sequence[Picture], excerpts: Sequence[Excerpt], *,
         toy: bool, missing: str = "", title: str = "DRP evaluation report") -> str:
    """The page's HTML. A content security policy forbids all that it does not need."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    environment.filters["shown"] = shown
    return environment.get_template("report.html.jinja").render(
        tables=tables, pictures=pictures, excerpts=excerpts, toy=toy, missing=missing, title=title)
