"""One self-contained HTML page: no script, no network, every text escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from drp_plugin.report.excerpts import excerpts
from drp_plugin.report.layout import Table, shown
from drp_plugin.report.regrading import Scored

if TYPE_CHECKING:
    from drp_plugin.report.figures import Picture


def page(tables: Sequence[Table], pictures: Sequence[Picture], scored: Sequence[Scored], *,
         cutoff: int | None, headline: Sequence[str], toy: bool, missing: str = "",
         title: str = "DRP evaluation report") -> str:
    """The page's HTML. A content security policy forbids all that it does not need."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    environment.filters["shown"] = shown
    return environment.get_template("report.html.jinja").render(
        tables=tables, pictures=pictures, excerpts=excerpts(scored, cutoff), headline=headline,
        toy=toy, missing=missing, title=title, origins=_origins(scored), version=_version())


def _origins(scored: Sequence[Scored]) -> list[tuple[str, list[list[tuple[str, str]]]]]:
    """Of each method what its runs recorded, each results file once."""
    found: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for one in scored:
        for origin in one.task.origin:
            fields = origin.model_dump()
            fields["tasks"] = ", ".join(fields["tasks"])
            found.setdefault(one.label, {})[repr(origin)] = list(fields.items())
    return [(name, list(origins.values())) for name, origins in found.items()]


def _version() -> str:
    try:
        return version("drp-plugin")
    except PackageNotFoundError:
        return "(not installed)"
