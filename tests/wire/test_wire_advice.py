"""What a run is advised when a server refuses a setting, done: the same server takes the run."""

from __future__ import annotations

import pytest
from provider import Provider
from small_runs import rows_of, traces
from starlette.responses import JSONResponse

REFUSED = "Unsupported parameter: '{}' is not supported with this model."
# the field that a server does not take, its words, what was given, the advice, what is given then
CASES = [
    ("temperature", REFUSED, (), "--temperature none", ("--temperature", "none")),
    ("temperature", "Thinking mode does not support {}", (), "--temperature none",
     ("--temperature", "none")),
    ("top_p", "{} must be in (0, 1)", ("--top-p", "0.5"), "Leave --top-p out", ()),
    ("seed", "Extra inputs are not permitted: {}", ("--seed", "7"), "Leave --seed out", ()),
    ("max_tokens", REFUSED + " Use 'max_completion_tokens' instead.", ("--max-tokens", "900"),
     "--extra max_completion_tokens=N", ("--extra", "max_completion_tokens=900")),
    ("response_format", "This {} type is unavailable now", ("--decompose", "indexed"),
     "another --decompose than indexed", ("--decompose", "skill")),
    ("top_k", "unknown field {}", ("--extra", "top_k=5"), "Leave --extra top_k=… out", ()),
    ("min_p", "got an unexpected keyword argument '{}'", ("--extra", "min_p=0.1"),
     "Leave --extra min_p=… out", ()),
    ("mirostat", "Unrecognized request argument supplied: {}", ("--extra", "mirostat=2"),
     "Leave --extra mirostat=… out", ()),
]


@pytest.mark.parametrize(("field", "words", "given", "advice", "then"), CASES)
def test_a_setting_that_is_left_out_as_advised(tmp_path, drp, rules, field, words, given, advice,
                                               then):
    data = traces(tmp_path / "t.jsonl", 2)

    async def strict(fault, http, gemini):
        return JSONResponse({"error": {"message": words.format(field)}}, 400) \
            if (await http.json()).get(field) is not None else None

    with Provider(rules) as provider:
        provider.faults.response = strict
        command = ("prune", data, "-o", tmp_path / "run", "--teacher", "openai:rules",
                   "--base-url", provider.url)
        ran = drp(*command, *given)
        assert ran.code == 2 and ran.err.count("\n") == 1 and advice in ran.err, ran.err
        assert not (tmp_path / "run").exists()
        assert drp(*command, *then, "--strict").code == 0
    assert len(rows_of(tmp_path / "run")[0]) == 2


def test_a_setting_that_is_asked_for_is_given_as_advised(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 2)

    async def strict(fault, http, gemini):
        return None if (await http.json()).get("enable_thinking") is False else JSONResponse(
            {"error": {"message": "parameter.enable_thinking must be set to false for "
                                  "non-streaming calls"}}, 400)

    with Provider(rules) as provider:
        provider.faults.response = strict
        command = ("prune", data, "-o", tmp_path / "run", "--teacher", "openai:rules",
                   "--base-url", provider.url)
        ran = drp(*command)
        assert ran.code == 2 and "--extra enable_thinking=false" in ran.err, ran.err
        assert drp(*command, "--extra", "enable_thinking=false", "--strict").code == 0
