"""What requests cost: list prices from a dated data file, or the user's own; `--max-cost`: the run
stops before it is passed, counting what is in flight."""

import asyncio
import datetime
import re
from pathlib import Path
from typing import Any

from pydantic import Field

from drp_plugin.errors import UserError
from drp_plugin.given_yaml import load
from drp_plugin.llm.messages import Request
from drp_plugin.records import Record, Usage

TABLE = Path(__file__).resolve().parent.parent / "data" / "prices.yaml"
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4}|\d{3}|latest)$")
_PER_MESSAGE = 16
DEFAULT_MAX_OUTPUT = 131_072


class Price(Record):
    """USD for a million tokens of one model."""

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    batch: float = Field(default=0.5, ge=0, allow_inf_nan=False)  # For a batch, relative to live
    max_output: int | None = None  # Most tokens that one reply can have; None where it is not known
    date: str = ""  # When the price was looked up
    confirmed: bool = False
    ends: datetime.date | None = None  # The day on which the provider switches the model off
    replacement: str = ""  # Its successor, as the provider says
    note: str = ""

    def cost(self, usage: Usage, *, batch: bool = False) -> float:
        live = (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1e6
        return live * (self.batch if batch else 1.0)

    def bill(self, usage: Usage, *, batch: bool = False) -> float | None:
        """A reply's cost in USD; None where the provider did not count its tokens."""
        return self.cost(usage, batch=batch) if counted(usage) or not self.paid else None

    @property
    def remark(self) -> str:
        after = f" (replacement: {self.replacement})" if self.replacement else ""
        end = f"switched off on {self.ends}{after}" if self.ends else ""
        return "; ".join(filter(None, (end, self.note)))

    @property
    def paid(self) -> bool:
        return bool(self.input or self.output)


def counted(usage: Usage) -> bool:
    """Whether the provider counted a reply's tokens: every prompt has some."""
    return usage.prompt_tokens > 0


FREE = Price(input=0, output=0, batch=1.0, confirmed=True, note="runs on your own machine")


def find_price(teacher: str, *, override: str | None = None, file: Path | None = None,
               hosted: bool = True, local: bool = False) -> Price | None:
    """The price of `kind:model`, or of its dated snapshot; None where it is not known. `override`
    is `IN,OUT` in USD for a million tokens, `file` a table of the shipped one's shape that is
    looked at first. The shipped table does not know endpoints of the user's own, which are not
    `hosted`; what is `local` costs nothing. Raises UserError for bad overrides."""
    listed = _listed(teacher, file, hosted=hosted)
    if listed is None and local:
        listed = FREE
    if override is None:
        return listed
    given = parse_price(override)
    return given if listed is None else given.model_copy(
        update={"batch": listed.batch, "max_output": listed.max_output})


def _listed(teacher: str, file: Path | None, *, hosted: bool) -> Price | None:
    for table in filter(None, (file, TABLE if hosted else None)):
        content = _load(table)
        models, own = content["models"], _SNAPSHOT.sub("", teacher)
        if (name := teacher if teacher in models else own) in models:
            try:
                return Price.model_validate({"batch": content.get("batch", 0.5),
                                             "date": str(content.get("date", "")), **models[name]})
            except (ValueError, TypeError):
                raise UserError(f"model {name}: not a price", file=table,
                                fix="Give {input: USD, output: USD} for a million tokens") from None
    return None


def _load(path: Path) -> dict[str, Any]:
    content = load(path)
    if not isinstance(content, dict) or not isinstance(content.get("models"), dict):
        raise UserError("no price table", file=path, fix="It needs `models:` as in the shipped one")
    return content


def parse_price(text: str) -> Price:
    """`IN,OUT`, in USD for a million tokens. Raises UserError."""
    try:
        into, out = (float(part) for part in text.split(","))
    except ValueError:
        into = out = -1.0
    if not (0 <= into < 1e6 and 0 <= out < 1e6):
        raise UserError(f"--price {text}: not a price",
                        fix="Give USD for a million tokens in and out, for example --price 2.5,10")
    return Price(input=into, output=out, confirmed=True, note="given by --price")


class OverBudget(BaseException):
    """The next request could pass the budget. Ends a row's flow for now; not an Exception, so
    that no stage can take it for a failure of the teacher."""


class Budget:
    """Money that may still be spent.

    Before a request goes out, the most that it can cost is set aside: its bytes bound its prompt
    tokens, the model's output limit its reply's. What it did not use is returned at its end, so
    that spent and in flight together never pass the limit."""

    def __init__(self, limit_usd: float, price: Price, spent_usd: float = 0.0) -> None:
        self.limit_usd, self.price, self.spent_usd = limit_usd, price, spent_usd
        self.reserved_usd = 0.0
        self.exhausted = False
        self.refused_usd: float | None = None  # The most that the cheapest refused request can cost
        self._returned = asyncio.Event()

    def most(self, request: Request) -> float:
        bytes_ = sum(len(m.content.encode("utf-8", "replace")) + _PER_MESSAGE
                     for m in request.messages)
        if request.json_schema is not None:
            bytes_ += len(str(request.json_schema))
        return self.at_most(bytes_, request.sampling.max_tokens)

    def at_most(self, prompt_bytes: int, max_tokens: int | None = None) -> float:
        """The most that a request of so many bytes can cost, in USD."""
        output = max_tokens or self.output_limit
        return (prompt_bytes * self.price.input + output * self.price.output) / 1e6

    @property
    def output_limit(self) -> int:
        """Most tokens of a reply where no --max-tokens bounds it."""
        return self.price.max_output or DEFAULT_MAX_OUTPUT

    async def reserve(self, request: Request) -> float:
        """Set aside the most that the request can cost, waiting for others to return theirs. Raises
        OverBudget when it cannot be afforded even with nothing else in flight."""
        most = self.most(request)
        while self.spent_usd + self.reserved_usd + most > self.limit_usd:
            if self.reserved_usd <= 1e-12:
                self._refuse(most)
                raise OverBudget
            self._returned.clear()
            await self._returned.wait()
        self.reserved_usd += most
        return most

    def afford(self, request: Request) -> bool:
        """Set aside the most that a batch request can cost; False where it is too much."""
        most = self.most(request) * self.price.batch
        if self.spent_usd + self.reserved_usd + most > self.limit_usd:
            self._refuse(most)
            return False
        self.reserved_usd += most
        return True

    def _refuse(self, most: float) -> None:
        self.exhausted = True
        self.refused_usd = most if self.refused_usd is None else min(most, self.refused_usd)

    def settle(self, reserved: float, cost: float) -> None:
        self.reserved_usd = max(0.0, self.reserved_usd - reserved)
        self.spent_usd += cost
        self._returned.set()
