"""Counters for the tests: Qwen's where it can be had."""

from __future__ import annotations

import pytest

from drp_plugin.errors import UserError
from drp_plugin.tokens import TokenCounter


@pytest.fixture(scope="session")
def qwen() -> TokenCounter:
    try:
        return TokenCounter.load("qwen")
    except UserError as error:
        pytest.skip(str(error))
