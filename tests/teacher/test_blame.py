"""Whose fault an error is, in the words of the servers that people use."""

from __future__ import annotations

import json
import time
from email.utils import formatdate

import pytest

from drp_plugin.llm.blame import explain, read_error
from drp_plugin.llm.limiter import LONGEST_WAIT_S, Limiter, seconds
from drp_plugin.llm.messages import TeacherError, TooLong, usage_of
from drp_plugin.llm.openai_client import OpenAITeacher, read_completion
from drp_plugin.llm.retry import Persistent, Retries, Transient, Unusable
from drp_plugin.records import Reason

QUOTA = "You exceeded your current quota, please check your plan and billing details."


def gemini(period: str, delay: str = "34s") -> dict:
    return {"error": {"code": 429, "message": QUOTA, "status": "RESOURCE_EXHAUSTED", "details": [
        {"violations": [{"quotaId": f"GenerateRequestsPer{period}PerProjectPerModel-FreeTier"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]}}


def openai(message: str, **more: object) -> dict:
    return {"error": {"message": message, **more}}


# status, body, and what it means: an exception, with words of its advice
CASES = [
    # the account's
    (401, openai("Incorrect API key provided"), Unusable, "OPENAI_API_KEY"),
    (400, openai("Your organization must be verified to use the model `o3`.",
                 code="unsupported_value"), Unusable, "what its account may use"),
    (400, openai("API key not valid. Please pass a valid API key."), Unusable, "OPENAI_API_KEY"),
    (429, openai(QUOTA, code="insufficient_quota"), Unusable, "Add credit"),
    (402, openai("Insufficient Balance"), Unusable, "Add credit"),
    (None, openai("needs more credits, or fewer max_tokens", code=402), Unusable, "Add credit"),
    (403, openai("Key limit exceeded (total limit)"), Unusable, "Add credit"),
    (400, openai("Budget has been exceeded! Current cost: 1", type="budget_exceeded"), Unusable,
     "Add credit"),
    (429, gemini("Day"), Unusable, "tomorrow"),
    (429, [gemini("Day")], Unusable, "tomorrow"),
    (429, openai("Rate limit exceeded: free-models-per-day"), Unusable, "tomorrow"),
    (429, openai("Rate limit reached on tokens per day (TPD). Try again in 7m"), Unusable,
     "tomorrow"),
    (429, openai("Your account balance is too low to run this request"), Unusable, "Add credit"),
    (429, openai("You have reached your specified API usage limits."), Unusable, "Add credit"),
    (429, {"code": "Throttling.AllocationQuota", "message": "Free allocated quota exceeded."},
     Unusable, "Add credit"),
    (429, openai("您的账户已欠费，请充值后重试", code="1113"), Unusable, "Add credit"),
    (429, openai("Your account is suspended, please check your plan and billing details",
                 type="exceeded_current_quota_error"), Unusable, "Add credit"),
    (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}, Unusable,
     "Add credit"),
    (429, openai("Quota exceeded for metric: free_tier_requests, limit: 0, model: m. Please retry "
                 "in 30s"), Unusable, "Add credit"),
    (429, {"detail": "You have hit your weekly limit"}, Unusable, "tomorrow"),
    (None, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, Unusable,
     "Add credit"),
    (None, {"error_code": 17, "error_msg": "Open api daily request limit reached"}, Unusable,
     "tomorrow"),
    # the run's: the model, what the server cannot do
    (400, openai("The model `gpt-4o-foo` has been deprecated"), Unusable, "model's name"),
    (400, openai("model is not loaded"), Unusable, "model's name"),
    (400, openai("No models loaded. Please load a model in the developer page"), Unusable,
     "model's name"),
    (403, openai("Project `p` does not have access to model `m`", code="model_not_found"),
     Unusable, "model's name"),
    (400, openai("System role not supported"), Unusable, "another teacher"),
    (400, "The plain HTTP request was sent to HTTPS port", Unusable, "--base-url"),
    (400, openai("parameter.enable_thinking must be set to false for non-streaming calls"),
     Unusable, "--extra enable_thinking=false"),
    (404, openai('model "llama9" not found, try pulling it first'), Unusable, "model's name"),
    (400, openai("Model Not Exist"), Unusable, "model's name"),
    (400, openai("foo/bar is not a valid model ID"), Unusable, "model's name"),
    (404, openai("The API deployment does not exist.", code="DeploymentNotFound"), Unusable,
     "model's name"),
    (400, openai("This model only support stream mode"), Unusable, "another teacher"),
    (400, openai("response_format value as json_schema is enabled only for api versions "
                 "2024-08-01-preview and later"), Unusable, "OPENAI_API_VERSION"),
    (404, openai("The requested API version is not supported.", code="UnsupportedApiVersion"),
     Unusable, "OPENAI_API_VERSION"),
    (400, openai("The api-version query parameter (?api-version=) is required for all requests."),
     Unusable, "?api-version="),
    (404, openai("models/m is not found for API version v1beta"), Unusable, "model's name"),
    (400, openai("The chatCompletion operation does not work with the specified model"), Unusable,
     "another teacher"),
    # the way's: proxies and firewalls
    (407, "<html>Proxy Authentication Required</html>", Unusable, "NO_PROXY"),
    (403, "<html>blocked by policy</html>", Unusable, "A proxy or a firewall"),
    (400, openai("User location is not supported for the API use."), Unusable, "another teacher"),
    (501, {"error": "not implemented"}, Unusable, "another teacher"),
    # the run's: a setting, with advice that can be followed
    (400, openai("Unsupported value: 'temperature' does not support 0 with this model.",
                 param="temperature"), Unusable, "--temperature none"),
    (400, openai("temperature: range: 0.0 < temperature <= 2.0, got 0"), Unusable,
     "--temperature none"),
    (400, openai("Only temperature=1 is allowed when thinking is enabled"), Unusable,
     "--temperature none"),
    (400, openai("Range of max_tokens should be [1, 8192]"), Unusable, "another --max-tokens"),
    (400, openai("`temperature` and `top_p` cannot both be specified"), Unusable,
     "--temperature none"),
    (400, openai("Unrecognized request argument supplied: seed"), Unusable, "Leave --seed out"),
    (400, openai('Invalid JSON payload received. Unknown name "seed"'), Unusable,
     "Leave --seed out"),
    (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "skip_special_tokens"],
                       "msg": "Extra inputs are not permitted", "input": False}]}, Unusable,
     "--extra skip_special_tokens"),
    (400, openai("max_tokens is too large: 100000. This model supports at most 16384 completion "
                 "tokens", param="max_tokens"), Unusable, "another --max-tokens"),
    (400, openai("'max_tokens' is too large: 9000. This model's maximum context length is 8192 "
                 "tokens and your request has 500 input tokens"), Unusable, "--max-tokens"),
    (400, openai("'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                 "instead.", param="max_tokens"), Unusable, "--extra max_completion_tokens=N"),
    (400, openai("'response_format' of type 'json_schema' is not supported",
                 param="response_format"), Unusable, "--decompose"),
    # the row's: too long
    (400, openai("This model's maximum context length is 8192 tokens. However, you requested 9000",
                 code="context_length_exceeded"), TooLong, ""),
    (400, openai("'max_tokens' is too large: 900. This model's maximum context length is 8192 "
                 "tokens and your request has 8000 input tokens"), TooLong, ""),
    (429, openai("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested "
                 "45000", code="rate_limit_exceeded"), TooLong, ""),
    (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 4096", "error_type": "v"},
     TooLong, ""),
    (400, openai("the request exceeds the available context size", type="exceed_context_size_error"
                 ), TooLong, ""),
    (400, openai("The input token count (12) exceeds the maximum number of tokens allowed (1)"),
     TooLong, ""),
    (400, openai("litellm.ContextWindowExceededError: prompt is too long: 210000 tokens > 200000"),
     TooLong, ""),
    (413, "<html>413</html>", TooLong, ""),
    (400, {"object": "error", "message": "The decoder prompt (length 9000) is longer than the "
           "maximum model length of 8192."}, TooLong, ""),
    (400, openai("Total tokens of image and text exceed max message tokens"), TooLong, ""),
    (None, {"error_code": 336003, "error_msg": "the max input characters is 20000"}, TooLong, ""),
    (400, openai("prompt tokens (9000) + max_tokens (1000) > n_ctx 8192"), TooLong, ""),
    (422, {"error": "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"
           }, TooLong, ""),
    (500, openai("the request exceeds the available context size. try increasing it"), TooLong, ""),
    # the row's: withheld, or nobody knows
    (400, openai("filtered due to Azure OpenAI's content management policy", code="content_filter",
                 innererror={"code": "ResponsibleAIPolicyViolation"}), TeacherError, "filtered"),
    (403, openai("Your input was flagged", metadata={"reasons": ["x"]}), TeacherError, "flagged"),
    (400, openai("Content Exists Risk"), TeacherError, "Risk"),
    (400, openai("输入或生成内容可能包含不安全或敏感内容", code="1301"), TeacherError, "输入"),
    (400, openai("something odd"), TeacherError, "odd"),
    # the moment's
    (429, openai("Rate limit reached for gpt-4o on tokens per min (TPM). Try again in 8s"),
     Transient, ""),
    (429, gemini("Minute"), Transient, ""),
    (429, {"message": "Requests rate limit exceeded"}, Transient, ""),
    (429, openai("Requests to the operation under Azure OpenAI API version 2024-10-21 have "
                 "exceeded token rate limit. Please retry after 2 seconds."), Transient, ""),
    (429, {"error": "Model is overloaded", "error_type": "overloaded"}, Transient, ""),
    (503, openai("Loading model"), Transient, ""),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
     Transient, ""),
    (500, "<html>model not found, insufficient_quota</html>", Transient, ""),
    (502, "", Transient, ""),
    (429, {"message": "Too many tokens, please wait before trying again."}, Transient, ""),
    (400, openai("Internal server error, please retry", type="server_error"), Transient, ""),
    (404, openai("upstream is temporarily unavailable, no available server"), Transient, ""),
    (424, {"error": "Request failed during generation: CUDA error", "error_type": "generation"},
     Transient, ""),
    (498, openai("Flex tier capacity exceeded"), Transient, ""),
    (400, openai("Request timed out"), Transient, ""),
    (429, openai("当前API请求过多，请稍后重试", code="1302"), Transient, ""),
    (None, {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, Transient, ""),
    (524, "<html>a timeout occurred</html>", Transient, ""),
    (None, openai("Provider returned error", code=502), Transient, ""),
]


@pytest.mark.parametrize(("status", "body", "kind", "says"), CASES)
@pytest.mark.parametrize("form", [lambda body: body, lambda body: json.dumps(body).encode()])
def test_an_error_is_the_accounts_the_runs_the_rows_or_the_moments(status, body, kind, says, form):
    found = explain(read_error(status, form(body), {}), "openai:m", "OPENAI_API_KEY")
    assert type(found) is kind, found
    assert says in str(found) and "\n" not in str(found)


def test_what_a_batch_line_says_means_what_it_means_live(tmp_path):
    teacher = OpenAITeacher("m", base_url="http://h/v1", persistent=Persistent(Limiter(1)))
    cases = [(status, body, kind) for status, body, kind, _ in CASES
             if status is not None and isinstance(body, dict)]
    file = tmp_path / "results.jsonl"
    file.write_text("".join(json.dumps({"custom_id": str(n), "response": {
        "status_code": status, "body": body}}) + "\n"
        for n, (status, body, _) in enumerate(cases)))
    found = list(teacher.batch().results(file))
    assert [key for key, _ in found] == [str(n) for n in range(len(cases))]
    assert [type(fault) for _, fault in found] == [kind for _, _, kind in cases]


@pytest.mark.parametrize(("body", "kind", "says"), [
    ({"base_resp": {"status_code": 1004, "status_msg": "invalid api key"}, "choices": None},
     Unusable, "OPENAI_API_KEY"),
    ({"error_code": 17, "error_msg": "daily request limit reached"}, Unusable, "tomorrow"),
    ({"code": "InvalidApiKey", "message": "Invalid API-key provided."}, Unusable, "OPENAI_API_KEY"),
    # of another interface than the one that was asked for: what it is, is shown
    ({"model": "m", "message": {"role": "assistant", "content": "x"}, "done": True}, Transient,
     "not a model's"),
    ({"response": "x", "done": True}, Transient, "not a model's"),
    ({"data": {"choices": []}}, Transient, "not a model's")])
def test_an_error_under_status_200(body, kind, says):
    teacher = OpenAITeacher("m", base_url="http://h/v1", persistent=Persistent(Limiter(1)))
    with pytest.raises(kind, match=says):
        teacher.read(json.dumps(body).encode())


def test_the_echo_of_a_prompt_decides_nothing():
    body = {"detail": [{"loc": ["body"], "msg": "Field required",
                        "input": {"messages": "insufficient_quota, context_length_exceeded"}}]}
    found = explain(read_error(422, body), "openai:m", "K")
    assert type(found) is TeacherError and "insufficient_quota" not in str(found)


@pytest.mark.parametrize("body", [[], [1], None, "", b"\xff\xfe", {"error": None}, {"error": []},
                                  {"error": {"code": [], "message": {}, "details": "no"}},
                                  "[" * 100_000, {"error": {"details": [{"retryDelay": []}]}}])
def test_no_body_is_too_odd(body):
    assert isinstance(explain(read_error(500, body, {}), "m", "K"), Transient)


@pytest.mark.parametrize(("message", "finish", "text", "end"), [
    ({"content": "x"}, "eos", "x", "stop"), ({"content": "x"}, "eos_token", "x", "stop"),
    ({"content": "x"}, None, "x", "stop"), ({"content": "x"}, "end_turn", "x", "stop"),
    ({"content": "x"}, "model_length", "x", "length"),
    ({"content": "x"}, "max_tokens", "x", "length"),
    ({"content": None}, "content_filter", "withheld by a filter", "refusal"),
    ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "x"}]}, "stop",
     "x", "stop"),
    ({"content": ["a", {"text": "b"}, {"type": "image"}]}, "stop", "ab", "stop"),
    ({"content": None, "reasoning_content": "hm"}, "stop", "", "stop"),
    ({"content": "a\ud83d"}, "stop", "a?", "stop"),
])
def test_what_counts_as_an_answer(message, finish, text, end):
    reply = read_completion({"choices": [{"message": message, "finish_reason": finish}]})
    assert (reply.text, reply.finish_reason) == (text, end)


@pytest.mark.parametrize("count", [-1, 10 ** 12, "7", True, float("nan"), [1], {}])
def test_counts_that_can_be_none_are_unknown(count):
    assert usage_of({"p": count, "c": 3}, "p", "c").prompt_tokens == 0
    assert usage_of({"p": 3, "c": count}, "p", "c").completion_tokens == 0 or count == {} or \
        count == [1]
    assert usage_of({"p": 3.0, "c": None}, "p", "c").prompt_tokens == 3


# -- patience -------------------------------------------------------------------------------


def test_durations_dates_and_nonsense_of_headers():
    assert seconds("1m30s") == 90 and seconds("20ms") == 0.02 and seconds("0") == 0
    assert 50 < seconds(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    # a clock that is a day ahead, or behind: the server's own counts
    for away in (-86_400, 86_400):
        date = formatdate(time.time() + away, usegmt=True)
        then = formatdate(time.time() + away + 60, usegmt=True)
        assert seconds(then, date) == 60 and seconds("7", date) == 7
        said = read_error(429, {}, {"retry-after": then, "date": date})
        assert said.after_s == 60
    assert seconds(then, "yesterday") is None, "then it waits as if none was named"
    for text in ("inf", "nan", "-inf", "soon", "", None, "x" * 10_000, "1e999", "Wed, 99 Oct"):
        assert seconds(text) is None


def test_waits_are_capped_and_grow_whatever_the_provider_asks():
    persistent = Persistent(Limiter(4), Retries(base_s=1, cap_s=60))
    asked = [persistent._wait(0, Transient("x", after_s=s)) for s in (86_400, 1e12)]
    assert all(LONGEST_WAIT_S <= s < LONGEST_WAIT_S + 1 for s in asked)
    at_once = [persistent._wait(n, Transient("x", after_s=0, throttled=True)) for n in (0, 6, 12)]
    assert at_once[0] < at_once[1] < at_once[2] and at_once[2] > 10


def test_a_provider_that_says_at_once_for_ever_slows_everything_down():
    now = 0.0
    limiter = Limiter(8, clock=lambda: now)
    for _ in range(12):
        limiter.throttled(0.0, now)
        now += limiter.paused_s()
    assert now > 60
    limiter.throttled(1e9, now)
    assert limiter.paused_s() == LONGEST_WAIT_S
    limiter.answered({"x-ratelimit-remaining-requests": "0",
                      "x-ratelimit-reset-requests": "1000000h"})
    assert limiter._permits_until - now <= LONGEST_WAIT_S


def test_a_reason_of_its_own_for_what_was_withheld():
    found = explain(read_error(400, openai("flagged by moderation")), "m", "K")
    assert isinstance(found, TeacherError) and found.reason is Reason.REFUSED
