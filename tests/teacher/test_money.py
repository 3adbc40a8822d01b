"""Prices and the budget."""

from __future__ import annotations

import asyncio

import pytest

from drp_plugin.errors import UserError
from drp_plugin.llm.addresses import find_base_url, is_official
from drp_plugin.llm.messages import Message, Request, Sampling
from drp_plugin.llm.prices import FREE, TABLE, Budget, OverBudget, Price, _load, find_price
from drp_plugin.records import Usage

DOLLAR = Price(input=1.0, output=1.0)  # a dollar for a million tokens


def request(prompt: str = "x" * 484, tokens: int = 500) -> Request:
    """Costs a thousandth of a dollar at most, at DOLLAR prices."""
    return Request(messages=(Message(role="user", content=prompt),),
                   sampling=Sampling(max_tokens=tokens))


def test_the_table_is_sound_and_dated():
    content = _load(TABLE)
    assert content["date"] and len(content["models"]) > 10
    for name in content["models"]:
        price = find_price(name)
        assert price is not None and 0 < price.input <= price.output and price.max_output
        assert price.date == str(content["date"])


def test_which_price_holds(tmp_path):
    assert find_price("openai:gpt-4o").output == 10.0
    assert find_price("openai:gpt-4o-2024-08-06") == find_price("openai:gpt-4o")
    assert find_price("openai:gpt-4o-mini").output == 0.6
    assert find_price("openai:nobody-knows") is None
    assert find_price("openai:gpt-4o", hosted=False) is None, "a server of one's own"
    assert find_price("offline:rules", local=True) == FREE == find_price("vllm:/m", local=True)
    assert find_price("openai:gpt-4o", override="1,2").output == 2
    own = tmp_path / "p.yaml"
    own.write_text("date: 2030-01-01\nbatch: 0.25\nmodels:\n  openai:mine: {input: 3, output: 4}\n")
    assert find_price("openai:mine", file=own).batch == 0.25
    assert find_price("openai:gpt-4o", file=own).output == 10.0


def test_another_price_keeps_the_models_limit_and_batch_rate(tmp_path):
    given = find_price("openai:gpt-4o", override="3,9")
    assert (given.input, given.output, given.max_output) == (3, 9, 16384)
    assert given.note == "given by --price" and not given.date
    assert find_price("openai:gpt-4o", override="3,9", hosted=False).max_output is None
    own = tmp_path / "p.yaml"
    own.write_text("models:\n  openai:mine: {input: 3, output: 4, batch: 0.25, max_output: 7}\n")
    given = find_price("openai:mine", override="1,1", file=own, hosted=False)
    assert (given.batch, given.max_output) == (0.25, 7)


def test_a_reply_without_usage_has_no_price():
    nothing = Usage(requests=1)
    assert DOLLAR.bill(nothing) is None and FREE.bill(nothing) == 0
    assert DOLLAR.bill(Usage(requests=1, prompt_tokens=10)) == pytest.approx(1e-5)


def test_what_had_no_room_is_known():
    budget = Budget(0.0005, DOLLAR)
    assert not budget.afford(request(tokens=1900)) and not budget.afford(request(tokens=900))
    assert budget.refused_usd == pytest.approx(0.0007), "the cheaper of the two, in a batch"


@pytest.mark.parametrize(("spec", "url", "official"), [
    ("openai:m", None, True), ("openai:m", "https://api.openai.com/v1", True),
    ("openai:m", "https://eu.api.openai.com/v1/", True),
    ("openai:m", "http://h:1/api.openai.com/v1", False),
    ("openai:m", "https://api.openai.com.example.org/v1", False),
    ("gemini:m", "https://generativelanguage.googleapis.com", True),
    ("gemini:m", "http://h", False),
    ("vllm:m", None, True), ("openai:m", "http://[", False),
])
def test_whose_address_it_is(spec, url, official):
    assert is_official(spec, url) is official


def test_a_variable_names_the_address(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://h/v1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://g")
    assert find_base_url("openai:m", None) == "http://h/v1"
    assert find_base_url("openai:m", "http://other/v1") == "http://other/v1"
    assert find_base_url("gemini:m", None) == "http://g"
    assert find_base_url("offline", None) is None and find_base_url("vllm:m", None) is None
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    assert find_base_url("gemini:m", None) is None and find_base_url("openai:m", None) is None


@pytest.mark.parametrize("text", ["1", "a,b", "1,2,3", "-1,2", "nan,1"])
def test_bad_prices(text):
    with pytest.raises(UserError, match="--price"):
        find_price("openai:x", override=text)


@pytest.mark.parametrize("text", ["a: [", "just text", "models: [1]",
                                  "models: {openai:x: {input: much, output: 1}}"])
def test_bad_tables(tmp_path, text):
    own = tmp_path / "p.yaml"
    own.write_text(text)
    with pytest.raises(UserError, match=r"p\.yaml"):
        find_price("openai:x", file=own)


def test_cost():
    usage = Usage(requests=1, prompt_tokens=1000, completion_tokens=100)
    price = Price(input=2.5, output=10)
    assert price.cost(usage) == pytest.approx(0.0035)
    assert price.cost(usage, batch=True) == pytest.approx(0.00175)


def test_a_request_costs_at_most_what_is_set_aside():
    budget = Budget(1.0, DOLLAR)
    assert budget.most(request()) == pytest.approx(0.001)
    assert budget.most(request("π" * 242)) == pytest.approx(0.001), "bytes, not characters"
    free = Request(messages=(Message(role="user", content=""),))
    assert Budget(1.0, DOLLAR.model_copy(update={"max_output": 7})).most(free) < 1e-4
    assert Budget(1.0, DOLLAR).most(free) > 0.1, "an unknown limit is a large one"


def test_the_budget_is_never_passed_and_is_used_up():
    """Requests that cost a fifth of the most they could: many run, none too many."""
    budget = Budget(0.0205, DOLLAR)
    worst, done, over = 0.0, 0, 0

    async def one() -> None:
        nonlocal worst, done, over
        try:
            reserved = await budget.reserve(request())
        except OverBudget:
            over += 1
            return
        worst = max(worst, budget.spent_usd + budget.reserved_usd)
        await asyncio.sleep(0.001)
        budget.settle(reserved, 0.0002)
        done += 1

    async def main() -> None:
        await asyncio.gather(*[one() for _ in range(300)])
        await asyncio.sleep(0)

    asyncio.run(main())
    assert worst <= 0.0205 + 1e-9
    # the last thousandth cannot be used: a request might need all of it
    assert 95 <= done <= 102 and done + over == 300 and budget.exhausted


def test_what_was_spent_before_counts():
    budget = Budget(1.0, DOLLAR, spent_usd=0.9995)
    with pytest.raises(OverBudget):
        asyncio.run(budget.reserve(request()))
