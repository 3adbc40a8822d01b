"""`--forecast` and `--max-cost` against a server that counts."""

from __future__ import annotations

import json
import re

from provider import Provider
from small_runs import rows_of, traces


def command(provider, data, run, *more):
    return ("prune", data, "-o", run, "--teacher", "openai:rules", "--base-url", provider.url,
            "--price", "10,20", *more)


def test_a_forecast_says_what_the_run_then_costs_and_is_not_paid_twice(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 40), tmp_path / "run"
    with Provider(rules) as provider:
        ran = drp(*command(provider, data, run, "--forecast", "--pilot", "8"))
        assert ran.code == 0, ran.err
        assert provider.received == 16 and not (run / "pruned.jsonl").exists()
        again = drp(*command(provider, data, run, "--forecast", "--pilot", "8"))
        assert provider.received == 16, "the pilot's replies are kept"
        assert drp(*command(provider, data, run)).code == 0
        assert provider.received == 80, "and the run does not ask them again"
    low, high = (float(x.replace(",", "")) for x in re.search(
        r"cost, live .*95 %: \$([\d.,]+) to \$([\d.,]+)\)", ran.out).groups())
    cost = rows_of(run)[2]["cost_usd"]
    assert low - 0.01 <= cost <= high + 0.01
    assert "forecast for 40 rows from a pilot of 8" in ran.out
    assert re.search(r"requests +80 ", ran.out) and "pruned " in ran.out
    assert "the pilot cost $0.0000" in again.out


def test_max_cost_is_not_passed_and_the_run_goes_on_with_more(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 30), tmp_path / "run"
    with Provider(rules, latency_s=0.02) as provider:
        whole = command(provider, data, tmp_path / "whole")
        assert drp(*whole).code == 0
        total = rows_of(tmp_path / "whole")[2]["paid"]["cost_usd"]
        before = provider.received
        limit = 0.7 * total
        ran = drp(*command(provider, data, run, "--max-tokens", "400", "--max-cost", limit))
        assert ran.code == 3, "it is not done"
        _, _, summary = rows_of(run)
        # on a busy machine the line of the first second can come behind it
        line = next(line for line in ran.err.splitlines() if "stopped before --max-cost" in line)
        assert f"{summary['not_reached']} of 30 rows were not" in line
        assert "--max-tokens" not in line, "another one would ask all of it anew"
        assert not summary["complete"] and 0 < summary["not_reached"] < 30
        assert summary["balanced"]
        assert 0.2 * limit < summary["paid"]["cost_usd"] <= limit
        assert drp(*command(provider, data, run, "--max-tokens", "400")).code == 0
        assert provider.received - before == 60, "nothing was asked twice on the way"
    assert rows_of(run)[2]["complete"]
    assert json.dumps(rows_of(run)[2]["paid"]["cost_usd"]) == json.dumps(total)
