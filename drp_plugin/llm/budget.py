"""`--max-cost`: the run stops before it is passed, counting what is in flight."""

import asyncio

from drp_plugin.llm.messages import Request
from drp_plugin.llm.prices import Price

_PER_MESSAGE = 16
DEFAULT_MAX_OUTPUT = 131_072


class OverBudget(BaseException):
    """The next request could pass the budget. Ends a row's flow for now; not an Exception, so
    that no stage can take it for a failure of the teacher."""


class Budget:
    """Money that may still be spent.

    Before a request goes out, the most that it can cost is set aside: its bytes bound its prompt
    tokens, the model's output limit its reply's. What it did not use comes back at its end, so
    what was spent and what is in flight can never pass the limit together.
    """

    def __init__(self, limit_usd: float, price: Price, spent_usd: float = 0.0) -> None:
        self.limit_usd, self.price, self.spent_usd = limit_usd, price, spent_usd
        self.reserved_usd = 0.0
        self.exhausted = False
        self.refused_usd: float | None = None
        """The most that the cheapest request can cost for which there was no room."""
        self._returned = asyncio.Event()

    def most(self, request: Request) -> float:
        """The most that a request can cost, in USD."""
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
        """Set aside the most that the request can cost, waiting for what others give back. Raises
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
        """A request ended and cost this much."""
        self.reserved_usd = max(0.0, self.reserved_usd - reserved)
        self.spent_usd += cost
        self._returned.set()
