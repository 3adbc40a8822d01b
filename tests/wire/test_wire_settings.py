"""What a run is told (config, prompts, address, budget) and what it says of what it did."""

from __future__ import annotations

import json

import pytest
from provider import Provider
from small_runs import KEY, rows_of, traces
from starlette.responses import JSONResponse

PRICE = ("--price", "10,20")


class NoUsage(Provider):
    """A server that counts no tokens."""

    async def _completion(self, body, fault):
        return {k: v for k, v in (await super()._completion(body, fault)).items() if k != "usage"}


class Refuses(Provider):
    """A server that answers 400 to everything."""

    async def chat(self, http):
        self.received += 1
        return JSONResponse({"error": {"message": "the context is too long", "type": "bad",
                                       "param": None, "code": None}}, 400)


def command(data, run, provider=None, *more):
    address = () if provider is None else ("--base-url", provider.url)
    return ("prune", data, "-o", run, "--teacher", "openai:rules", *address, *more)


def is_one_line(ran, *says):
    assert ran.code == 2, ran.err
    assert ran.err.count("\n") == 1 and "Traceback" not in ran.err
    for text in says:
        assert text in ran.err
    return True


# -- forecasts ---------------------------------------------------------------------------------


def test_a_forecast_without_an_answer_is_an_error(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 8)
    with Refuses(rules) as provider:
        ran = drp(*command(data, tmp_path / "a", provider, *PRICE, "--forecast"))
    assert is_one_line(ran, "refuses every request", "context is too long")
    assert ran.out == ""
    with Provider(rules) as provider:
        ran = drp(*command(data, tmp_path / "b", provider, *PRICE, "--forecast", "--max-tokens",
                           "400", "--max-cost", "0.0085"))
    assert is_one_line(ran, "measured nothing", "--max-cost 0.0085", "--max-tokens")
    wrong = [json.loads(x) | {"answer": "no"} for x in data.read_text().splitlines()]
    data.write_text("".join(json.dumps(r) + "\n" for r in wrong))
    with Provider(rules) as provider:
        ran = drp(*command(data, tmp_path / "c", provider, *PRICE, "--forecast"))
    assert is_one_line(ran, "none of its 8 rows came as far as a request (wrong_answer 8)")
    free = drp("prune", traces(tmp_path / "u.jsonl", 3), "-o", tmp_path / "d", "--teacher",
               "earliest-correct", "--forecast")
    assert free.code == 0 and "$0.00" in free.out, "what asks nobody costs nothing"


def test_a_pilot_that_the_budget_cuts_short_says_so(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 40)
    with Provider(rules) as provider:
        ran = drp(*command(data, tmp_path / "run", provider, *PRICE, "--forecast", "--max-tokens",
                           "400", "--max-cost", "0.11"))
    assert ran.code == 0 and "--max-cost cut the pilot short" in ran.out


def test_a_forecast_without_usage_names_no_cost(tmp_path, drp, rules):
    with NoUsage(rules) as provider:
        again = command(traces(tmp_path / "t.jsonl", 8), tmp_path / "run", provider, *PRICE,
                        "--forecast")
        assert "cannot be forecast" in drp(*again).out
        ran = drp(*again)
    assert "cannot be forecast" in ran.out and "$0.0" not in ran.out, "nor from stored replies"


# -- budgets -----------------------------------------------------------------------------------


def test_replies_that_were_paid_without_a_price_count(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 10), tmp_path / "run"
    with Provider(rules) as provider:
        assert drp(*command(data, run, provider, "--limit", "5", "--max-tokens", "400")).code == 0
        summary = rows_of(run)[2]
        paid = (summary["prompt_tokens"] * 10 + summary["completion_tokens"] * 20) / 1e6
        ran = drp(*command(data, run, provider, "--max-tokens", "400", *PRICE, "--max-cost",
                           paid + 0.001))
        assert provider.received == 10, "nothing more fits"
    assert ran.code == 3 and f"${paid:.4f} of ${paid + 0.001:.4f} spent" in ran.err
    assert "5 of 10 rows were not reached" in ran.err


def test_a_reply_without_usage_is_charged_at_the_most(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 10), tmp_path / "run"
    with NoUsage(rules) as provider:
        again = command(data, run, provider, "--max-tokens", "400", *PRICE, "--max-cost", "0.2")
        ran = drp(*again)
        asked = provider.received
        assert ran.code == 3 and 0 < asked < 20, ran.err
        assert "replies without usage" in ran.err and rows_of(run)[2]["cost_usd"] is None
        assert drp(*again).code == 3 and provider.received == asked, "and the next run knows"
        unpriced = command(data, tmp_path / "other", provider)
        assert drp(*unpriced).code == 0
        ran = drp(*unpriced, *PRICE, "--max-cost", "9")
    assert is_one_line(ran, "20 stored replies carry no usage", "--max-cost cannot be kept")


def test_batches_without_usage_are_charged_at_the_most(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 6), tmp_path / "run"
    with NoUsage(rules) as provider:
        again = command(data, run, provider, "--max-tokens", "4000", *PRICE, "--batch", "--poll",
                        "0.05", "--max-cost", "5")
        assert drp(*again).code == 3
        asked = sum(provider.answered.values())
        assert 0 < asked < 12 and drp(*again).code == 3
        assert sum(provider.answered.values()) == asked


def test_a_budget_in_which_no_request_fits_is_refused_up_front(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 6)
    with Provider(rules) as provider:
        ran = drp(*command(data, tmp_path / "a", provider, *PRICE, "--max-cost", "1"))
        assert is_one_line(ran, "one request can cost $2.6214", "131,072 tokens", "--max-tokens")
        ran = drp(*command(data, tmp_path / "b", provider, *PRICE, "--max-cost", "1",
                           "--max-tokens", "2000"))
        assert ran.code == 0, ran.err
        ran = drp(*command(data, tmp_path / "c", provider, *PRICE, "--max-cost", "0.0081",
                           "--max-tokens", "400"))
    assert ran.code == 3 and "6 of 6 rows were not reached" in ran.err
    assert "--max-tokens" in ran.err and not (tmp_path / "a" / "settings.json").exists()


# -- the config --------------------------------------------------------------------------------


def test_a_config_takes_every_option_by_its_name(tmp_path, drp):
    data, run, prompts = traces(tmp_path / "t.jsonl", 2), tmp_path / "run", tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "repair.jinja").write_text("Again: {{ error }}")
    config = tmp_path / "prune.yaml"
    config.write_text(
        f"output: {run}\nprompts: {prompts}\ntimeout: 5\npoll: 1\nno-check-answer: true\n"
        f"no-check-numbers: false\ncheck-length: false\nteacher: offline\nmax-requests: 7\n"
        'extra: ["a=1", "b=x"]\ntop_p: 0.5\nlimit: 1\n')
    ran = drp("prune", data, "--config", config)
    assert ran.code == 0, ran.err
    settings = json.loads((run / "settings.json").read_text())
    assert settings["check_answer"] is False and settings["check_numbers"] is True
    assert settings["check_length"] is False and settings["max_requests"] == 7
    assert settings["sampling"]["extra"] == {"a": 1, "b": "x"}
    assert settings["sampling"]["top_p"] == 0.5 and settings["limit"] == 1
    for text in ("extra: a=1\n", "extra: [{a: 1}]\n", "extra: {a: 1}\n"):
        config.write_text(f"o: {run}\nteacher: offline\nlimit: 1\n{text}")
        ran = drp("prune", data, "--config", config, "--anew")
        assert ran.code == 0, ran.err
        assert json.loads((run / "settings.json").read_text())["sampling"]["extra"] == {"a": 1}
    config.write_text(f"run_dir: {run}\nprompts_dir: {prompts}\ntimeout_s: 5\nteacher: offline\n")
    assert drp("prune", data, "--config", config, "--anew").code == 0, "our own names hold, too"


@pytest.mark.parametrize(("text", "says"), [
    ("engine-arg: {a: 1}\n", "--engine-arg is for vllm"), ("engine-arg: [a]\n", "not KEY=VALUE"),
    ("output: a\nrun_dir: b\n", "twice"), ("no-check-answer: maybe\n", "true or false"),
    ("outputs: a\n", "'output'"), ("no-check-answers: true\n", "'no-check-answer'"),
    ("strict: maybe\n", "maybe"), ("config: other.yaml\n", "unknown key"),
])
def test_a_config_that_cannot_be_is_one_line(tmp_path, drp, text, says):
    config = tmp_path / "prune.yaml"
    config.write_text(text)
    assert is_one_line(drp("prune", traces(tmp_path / "t.jsonl", 1), "-o", tmp_path / "run",
                           "--teacher", "offline", "--config", config), says)


def test_the_judges_config_and_help(tmp_path, drp):
    text = " ".join(drp("judge", "--help").out.split())
    assert "--shuffle-seed decides" in text and "--shuffle-seed 1" in text
    config = tmp_path / "judge.yaml"
    config.write_text("judge: claude:x\nshuffle-seed: 1\n")
    folder = tmp_path / "run"
    assert drp("prune", traces(tmp_path / "t.jsonl", 2), "-o", folder, "--teacher",
               "offline").code == 0
    assert is_one_line(drp("judge", folder, folder, "--config", config), "unknown teacher")


# -- prompts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "content", "says"), [
    ("decompose-skill.jinja", b"x", "Call it decompose_skill.jinja"),
    ("notes.txt", b"x", "no *.jinja"), ("summarize.jinja", b"x", "no prompt is called"),
    ("revise.jinja", b"{{ question | nosuch }}", "nosuch"),
    ("repair.jinja", b"{{ mistake }}", "It may use: error"),
    ("decompose_skill.jinja", b"{{ question / 2 }}", "TypeError"),
    ("decompose_skill.jinja", b"{{ question() }}", "TypeError"),
    ("decompose_skill.jinja", b"na\xefve {{ question }}", "UTF-8"),
])
def test_a_bad_prompt_is_one_line_before_anything_is_paid(tmp_path, drp, rules, name, content,
                                                          says):
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / name).write_bytes(content)
    with Provider(rules) as provider:
        ran = drp(*command(traces(tmp_path / "t.jsonl", 2), tmp_path / "run", provider,
                           "--prompts", prompts))
        assert is_one_line(ran, says, str(prompts)) and provider.received == 0


def test_only_the_prompts_of_the_mode_are_tried(tmp_path, drp):
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "revise.jinja").write_text("{{ nosuch }}")
    data = traces(tmp_path / "t.jsonl", 2)

    def run(name, *more):
        return drp("prune", data, "-o", tmp_path / name, "--prompts", prompts, *more).code

    assert run("a", "--teacher", "offline", "--decompose", "indexed") == 0
    assert run("b", "--teacher", "earliest-correct") == 0
    assert run("c", "--teacher", "offline", "--decompose", "sentence") == 2


def test_distill_and_judge_try_theirs(tmp_path, drp, rules):
    prompts, data = tmp_path / "prompts", traces(tmp_path / "t.jsonl", 2)
    prompts.mkdir()
    (prompts / "distill.jinja").write_text("{{ reasoning }}")
    (prompts / "judge.jinja").write_text("{{ version_c }}")
    assert drp("prune", data, "-o", tmp_path / "run", "--teacher", "offline").code == 0
    with Provider(rules) as provider:
        more = ("--base-url", provider.url, "--prompts", prompts)
        ran = drp("distill", data, "-o", tmp_path / "d", "--teacher", "openai:m", *more)
        assert is_one_line(ran, "'reasoning' is undefined", "It may use: question")
        ran = drp("judge", tmp_path / "run", tmp_path / "run", "--judge", "openai:m", *more)
        assert is_one_line(ran, "'version_c' is undefined") and provider.received == 0


# -- another input, another address ------------------------------------------------------------


def test_another_input_does_not_replace_a_run(tmp_path, drp):
    run, data = tmp_path / "run", traces(tmp_path / "t.jsonl", 6)
    other = traces(tmp_path / "other.jsonl", 2, start=4)
    rest = ("-o", run, "--teacher", "offline")
    assert drp("prune", data, *rest).code == 0
    before = (run / "pruned.jsonl").read_bytes()
    settings = (run / "settings.json").read_bytes()
    assert is_one_line(drp("prune", other, *rest), "4 rows of its pruned.jsonl", "row 1", "--anew")
    same_ids = [json.loads(x) | {"question": "Another?"} for x in data.read_text().splitlines()]
    other.write_text("".join(json.dumps(r) + "\n" for r in same_ids))
    assert is_one_line(drp("prune", other, *rest), "6 rows of its pruned.jsonl")
    assert (run / "pruned.jsonl").read_bytes() == before
    assert (run / "settings.json").read_bytes() == settings
    assert drp("prune", traces(tmp_path / "more.jsonl", 9), *rest).code == 0, "it may grow"
    assert drp("prune", data, *rest, "--limit", "3").code == 0
    assert len(rows_of(run)[0]) == 3, "--limit asks for less"
    assert drp("prune", data, *rest).code == 0 and len(rows_of(run)[0]) == 6
    assert drp("prune", traces(other, 2, start=4), *rest, "--anew").code == 0
    assert len(rows_of(run)[0]) == 2


def test_the_address_of_the_environment_is_one_of_the_settings(tmp_path, drp, rules, monkeypatch):
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"
    mine = ("prune", data, "-o", run, "--teacher", "openai:gpt-4o")
    with Provider(rules) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        assert drp(*mine).code == 0
        assert json.loads((run / "settings.json").read_text())["base_url"] == provider.url
        assert rows_of(run)[2]["cost_usd"] is None, "no list price holds there"
        assert is_one_line(drp(*mine, "--max-cost", "1"), "no price is known")
        monkeypatch.delenv("OPENAI_BASE_URL")
        assert is_one_line(drp(*mine), f"base_url: {provider.url} → none")
        assert drp(*mine, "--base-url", provider.url).code == 0
        assert provider.received == 4
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8000")
    assert is_one_line(drp(*mine), "not an address", "OPENAI_BASE_URL")


def test_the_providers_own_address_has_its_list_price(tmp_path, drp, rules, monkeypatch):
    from drp_plugin.llm.openai_client import OpenAITeacher

    with Provider(rules) as provider:
        begin = OpenAITeacher.__init__

        def rerouted(self, *given, **more):
            begin(self, *given, **more)
            assert self._key == KEY
            self.client = self.client.with_options(base_url=provider.url)

        monkeypatch.setattr(OpenAITeacher, "__init__", rerouted)
        ran = drp("prune", traces(tmp_path / "t.jsonl", 2), "-o", tmp_path / "run", "--teacher",
                  "openai:gpt-4o", "--base-url", "https://api.openai.com/v1", "--max-cost", "1")
    assert ran.code == 0, ran.err
    assert rows_of(tmp_path / "run")[2]["cost_usd"] > 0
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["base_url"] is None
