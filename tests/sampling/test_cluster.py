"""Sampling through a real Ray on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Message
from drp_plugin.sampling import engines
from drp_plugin.sampling.completions import SampleRequest

pytestmark = pytest.mark.framework


def test_two_workers_draw_what_one_engine_draws(random_student: Path) -> None:
    ray = pytest.importorskip("ray")
    requests = [SampleRequest(messages=(Message(role="user", content=f"what is {i} + 2 ?"),),
                              temperature=0.7, max_new_tokens=20, seed=i) for i in range(24)]
    try:
        sampler = engines.make("ray", str(random_student), workers=2, block=5, local=True)
        shared = dict(sampler.sample(requests))
        with pytest.raises(UserError, match="engine=x is unknown"):
            engines.make("ray", str(random_student), engine="x")
    finally:
        ray.shutdown()
    assert shared == dict(engines.make("hf", str(random_student), workers=1).sample(requests))
