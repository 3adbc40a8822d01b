"""What requests cost: list prices from a dated data file, or the user's own."""

import datetime
import re
from pathlib import Path
from typing import Any

from pydantic import Field

from drp_plugin.errors import UserError
from drp_plugin.given_yaml import load
from drp_plugin.records import Record, Usage

TABLE = Path(__file__).resolve().parent.parent / "data" / "prices.yaml"
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4}|\d{3}|latest)$")


class Price(Record):
    """USD for a million tokens of one model."""

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    batch: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Cost of a batch request relative to a live one."""
    max_output: int | None = None  # Most tokens that one reply can have; None where it is not known
    date: str = ""  # When the price was looked up
    confirmed: bool = False
    ends: datetime.date | None = None  # The day on which the provider switches the model off
    replacement: str = ""  # What the provider names in its place
    note: str = ""

    def cost(self, usage: Usage, *, batch: bool = False) -> float:
        """What these tokens cost, in USD."""
        live = (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1e6
        return live * (self.batch if batch else 1.0)

    def bill(self, usage: Usage, *, batch: bool = False) -> float | None:
        """What a reply cost, in USD; None where the provider did not count its tokens."""
        return self.cost(usage, batch=batch) if counted(usage) or not self.paid else None

    def gone(self, today: datetime.date) -> bool:
        """Whether the provider has switched the model off."""
        return self.ends is not None and self.ends <= today

    @property
    def remark(self) -> str:
        """What else there is to know of the model, for a person."""
        after = f" (replacement: {self.replacement})" if self.replacement else ""
        end = f"switched off on {self.ends}{after}" if self.ends else ""
        return "; ".join(filter(None, (end, self.note)))

    @property
    def paid(self) -> bool:
        """Whether requests cost anything."""
        return bool(self.input or self.output)


def counted(usage: Usage) -> bool:
    """Whether the provider counted a reply's tokens: there is no prompt without any."""
    return usage.prompt_tokens > 0


FREE = Price(input=0, output=0, batch=1.0, confirmed=True, note="runs on your own machine")


def find_price(teacher: str, *, override: str | None = None, file: Path | None = None,
               hosted: bool = True, local: bool = False) -> Price | None:
    """The price of `kind:model`, or of its dated snapshot; None where it is not known.

    `override` is `IN,OUT` in USD for a million tokens, beside what the tables know. `file` is a
    table of the shipped one's shape that is looked at first. `hosted` is False for endpoints of
    the user's own, which the shipped table does not know; `local` is for what costs nothing.
    Raises UserError for bad overrides.
    """
    listed = _listed(teacher, file, hosted=hosted)
    if listed is None and local:
        listed = FREE
    if override is None:
        return listed
    given = _parse(override)
    return given if listed is None else given.model_copy(
        update={"batch": listed.batch, "max_output": listed.max_output})


def _listed(teacher: str, file: Path | None, *, hosted: bool) -> Price | None:
    for table in filter(None, (file, TABLE if hosted else None)):
        content = _load(table)
        for name in (teacher, _SNAPSHOT.sub("", teacher)):
            if name not in content["models"]:
                continue
            try:
                return Price.model_validate({"batch": content.get("batch", 0.5),
                                             "date": str(content.get("date", "")),
                                             **content["models"][name]})
            except (ValueError, TypeError):
                raise UserError(f"model {name}: not a price", file=table,
                                fix="Give {input: USD, output: USD} for a million tokens") from None
    return None


def _load(path: Path) -> dict[str, Any]:
    content = load(path)
    if not isinstance(content, dict) or not isinstance(content.get("models"), dict):
        raise UserError("no price table", file=path, fix="It needs `models:` as in the shipped one")
    return content


def _parse(text: str) -> Price:
    try:
        into, out = (float(part) for part in text.split(","))
    except ValueError:
        into = out = -1.0
    if not (0 <= into < 1e6 and 0 <= out < 1e6):
        raise UserError(f"--price {text}: not a price",
                        fix="Give USD for a million tokens in and out, for example --price 2.5,10")
    return Price(input=into, output=out, confirmed=True, note="given by --price")
