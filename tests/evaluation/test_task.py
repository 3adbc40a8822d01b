"""The task class inside lmms-eval's own classes, without a model."""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lmms_eval")
pytestmark = pytest.mark.framework

from lmms_eval.api.instance import GenerationResult  # noqa: E402
from lmms_eval.api.model import lmms  # noqa: E402
from lmms_eval.evaluator import simple_evaluate  # noqa: E402
from lmms_eval.tasks import TaskManager  # noqa: E402

from drp_plugin.evaluation.exchange import Counts  # noqa: E402

TINY = "tiny:eval:steps2:4"


class Says(lmms):
    """A chat model that answers from a function of the messages and the round of asking."""

    is_simple = False

    def __init__(self, say: Any) -> None:
        super().__init__()
        self.say, self.heard, self.kwargs = say, [], []

    def generate_until(self, requests: list[Any]) -> list[Any]:
        found = []
        for request in requests:
            _, messages, kwargs, doc_id, task, split = request.args
            self.kwargs.append(kwargs)
            turns = messages(self.task_dict[task][split][doc_id])
            self.heard.append(turns)
            found.append(self.say(turns, len(self.heard)))
        return found

    def generate_until_multi_round(self, requests: list[Any]) -> list[Any]:
        """The loop of lmms-eval's own vllm model."""
        found = []
        for request in requests:
            _, messages, _, doc_id, task, split = request.args
            doc, said, number = self.task_dict[task][split][doc_id], [], 0
            while True:
                if number == 0:
                    turns = messages(doc)
                else:
                    turns, end, _, _ = messages(doc, round_idx=number, previous_output=list(said),
                                                previous_round_info=None)
                    if end:
                        break
                self.heard.append(turns)
                said.append(self.say(turns, len(self.heard)))
                number += 1
            found.append(said)
        return found

    def loglikelihood(self, requests: list[Any]) -> Any:
        raise NotImplementedError


class Simple(Says):
    is_simple = True

    def generate_until(self, requests: list[Any]) -> list[Any]:
        self.heard += [request.args[0] for request in requests]
        return [self.say(request.args[0], 0) for request in requests]


@functools.cache
def _manager() -> TaskManager:
    """It reads every YAML of lmms-eval, which takes longer than the tests."""
    return TaskManager()


def evaluate(model: lmms, task: str, sets: Path | None, monkeypatch: pytest.MonkeyPatch,
             **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if sets is not None:
        monkeypatch.setenv("DRP_DATA_DIR", str(sets))
    found = simple_evaluate(model=model, tasks=[task], bootstrap_iters=0,
                            task_manager=_manager(), **settings)
    return found["results"][task], found["samples"][task]


def add(turns: Any) -> int:
    """The right answer to the sums of the fixture."""
    text = turns if isinstance(turns, str) else turns[-1]["content"][0]["text"]
    return int(text.partition(" plus")[0].rpartition(" ")[2]) + 2


def answer(value: object, thought: str = "so") -> str:
    return f"{thought}</think>\n\nThe answer is \\boxed{{{value}}}."


def test_scores_and_raw_completions(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right, wrong, cut off in the thinking, no answer: three documents of each."""
    def say(turns: Any, n: int) -> Any:
        right = add(turns)
        text = (answer(right), answer(right + 1), f"I think \\boxed{{{right}}}",
                "so</think>\n\nI do not know")[n % 4]
        return GenerationResult(text, Counts(
            output_tokens=99, finish="length" if n % 4 == 2 else "stop"))

    results, samples = evaluate(Says(say), "drp_gsm8k", sets, monkeypatch)
    assert results["accuracy,none"] == results["accuracy_no_cutoff,none"] == 0.25
    assert results["truncated,none"] == results["no_answer,none"] == 0.25
    assert len(samples) == 12
    by_outcome = {s["drp"]["completions"][0]["outcome"] for s in samples}
    assert by_outcome == {"right", "wrong", "truncated", "no_answer"}
    assert all("think" in str(s["filtered_resps"]) for s in samples)  # not stripped
    one = samples[0]["drp"]
    assert one["completions"][0]["backend_tokens"] == 99
    assert one["protocol"]["cutoff"] == 12000 and one["protocol"]["prompt"] == "eval_boxed"
    assert one["protocol"]["temperature"] == 0 and one["protocol"]["max_new_tokens"] == 131072
    assert samples[0]["token_counts"] == [{"output_tokens": 99, "finish": "stop"}]


def test_the_cutoff_clips_and_fails(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of twelve runs past 12,000 tokens before it answers, rightly."""
    long = "hmm " * 13_000

    def say(turns: Any, n: int) -> str:
        return answer(add(turns), long if n == 1 else "so")

    results, samples = evaluate(Says(say), "drp_aime24", sets, monkeypatch)
    assert results["accuracy_no_cutoff,none"] == 1
    assert results["accuracy,none"] == pytest.approx(11 / 12)
    assert results["truncated,none"] == pytest.approx(1 / 12)
    first = samples[0]["drp"]["completions"][0]
    assert first["tokens"] == 12_000 and first["full"]["tokens"] > 13_000
    assert first["full"]["correct"] and not first["correct"]
    rest = [s["tokens"] for s in samples[1:]]
    assert max(rest) < 30  # counted clipped, not left out
    assert results["tokens,none"] == pytest.approx((12_000 + sum(rest)) / 12)


def test_prompts_of_the_tasks(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    question = "What is 0 plus 2?"
    boxed = "\nPlease reason step by step, and put your final answer within \\boxed{}."
    for task, texts in {
        "drp_math500": [question + boxed],
        "drp_math500_answer": [question + '\nPlease reason step by step, and end with '
                               '"The answer is" followed by your final answer.'],
        "drp_math500_thinkprune": [
            "The output of the assistant should be within 3000 tokens.",
            question + " Let's think step by step and output the final answer within \\boxed{}."],
    }.items():
        model = Says(lambda turns, n: answer(1))
        evaluate(model, task, sets, monkeypatch, limit=1)
        turns = model.heard[0]
        assert [t["role"] for t in turns] == ["system", "user"][-len(turns):]
        assert len(turns) == len(texts)
        for turn, text in zip(turns, texts, strict=True):
            assert turn["content"][0]["text"].endswith(text)


def test_tale_asks_twice(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(turns: Any, n: int) -> str:
        text = turns[-1]["content"][0]["text"]
        if "[[budget]]" in text:
            return "thinking [[9]]</think> Budget: [[50]]" if "0 plus" in text else "no idea [[0]]"
        return answer(add(turns))

    model = Says(say)
    results, samples = evaluate(model, "drp_amc23_tale", sets, monkeypatch, limit=2)
    asked = [turns[-1]["content"][0]["text"] for turns in model.heard]
    assert asked[1].endswith("Let's think step by step and use less than 50 tokens:")
    assert asked[3].endswith("Let's think step by step:")  # the budget could not be read
    assert results["accuracy,none"] == 1
    assert samples[0]["filtered_resps"] == samples[0]["resps"]
    assert len(samples[0]["drp"]["completions"]) == 1
    assert samples[0]["drp"]["earlier_rounds"] == [["thinking [[9]]</think> Budget: [[50]]"]]
    assert samples[0]["drp"]["protocol"]["budget_prompt"] == "eval_tale_budget"


def test_repeats_give_avg_and_pass(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four samples one is right, for half of the questions."""
    def say(turns: Any, n: int) -> str:
        return answer(add(turns) + (0 if n % 8 == 1 else 1))

    model = Says(say)
    results, samples = evaluate(model, "drp_math500_sampled", sets, monkeypatch, limit=8)
    assert len(model.heard) == 32 and model.kwargs[0]["temperature"] == 0.6
    assert model.kwargs[0]["max_new_tokens"] == 32_768
    assert results["accuracy,none"] == 1 / 8
    # of a question's pairs of samples, half hold the right one: 1 - C(3, 2) / C(4, 2)
    assert results["pass_at_2,none"] == 1 / 4 and results["pass_at_4,none"] == 1 / 2
    assert "pass_at_8,none" not in results
    assert [len(s["drp"]["completions"]) for s in samples] == [4] * 8
    assert samples[0]["drp"]["protocol"]["repeats"] == 4


def test_score_and_report_agree_with_lmms_eval(
        sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four samples a problem, some right in a sentence, some stopped at the limit."""
    from click.testing import CliRunner

    from drp_plugin.cli.score import score as command
    from drp_plugin.scoring import measure_many
    from drp_plugin.scoring.samples import read_sample
    from drp_plugin.tokens import TokenCounter

    def say(turns: Any, n: int) -> GenerationResult:
        text = answer(f"There are {add(turns) + (n % 3 == 0)} left", "so " * n)
        finish = "length" if n % 5 == 0 else "stop"
        return GenerationResult(text if n % 7 else "so", Counts(output_tokens=n, finish=finish))

    results, samples = evaluate(Says(say), "drp_gsm8k_sampled", sets, monkeypatch, limit=9,
                                repeats=4)
    file = tmp_path / "samples.jsonl"
    file.write_text("".join(json.dumps(s, default=str) + "\n" for s in samples))
    done = CliRunner().invoke(command, [str(file), "--cutoffs", "12000,none"])
    assert done.exit_code == 0, done.output
    found, whole = map(json.loads, done.stdout.splitlines())
    assert (found["n"], found["samples"]) == (9, 36)
    for name, value in {"accuracy": found["accuracy"], "accuracy_no_cutoff": whole["accuracy"],
                        "tokens": found["tokens"], "tokens_no_cutoff": whole["tokens"],
                        "think_tokens": found["think_tokens"],
                        "truncated": found["truncated"] / 36,
                        "no_answer": found["no_answer"] / 36}.items():
        assert results[f"{name},none"] == pytest.approx(value, rel=1e-12), name
    assert results["accuracy,none"] == found["accuracy"]
    assert 0.2 < found["accuracy"] < 0.8 and found["truncated"] > 0
    one = read_sample(json.loads(file.read_text().splitlines()[1]), file, 2)
    assert one.ended == (False, True, True, True) and one.backend_tokens == (5, 6, 7, 8)
    read = measure_many(one.completions, [one.gold] * 4, [one.dataset] * 4,
                        TokenCounter.load("qwen"), ended=one.ended)
    assert [m.correct for m in read] == [c["correct"] for c in samples[1]["drp"]["completions"]]


def test_early_stopping_is_said_and_hides_what_is_not_known(
        sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(turns: Any, n: int) -> GenerationResult:
        counts = Counts(output_tokens=5, finish="cutoff" if n == 1 else "stop",
                        settings={"stop_at_cutoff": True, "max_new_tokens": 700})
        return GenerationResult(answer(add(turns)), counts)

    results, samples = evaluate(Says(say), "drp_gsm8k", sets, monkeypatch, limit=4)
    assert results["stopped_early,none"] == 0.25
    assert "accuracy_no_cutoff,none" not in results and "tokens_no_cutoff,none" not in results
    protocol = samples[0]["drp"]["protocol"]
    assert protocol["stop_at_cutoff"] is True and protocol["max_new_tokens"] == 700
    assert [s["finish_reason"] for s in samples[:2]] == ["length", "stop"]


def test_gen_kwargs_reach_the_model_and_the_record(
        sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Says(lambda turns, n: answer(1))
    _, samples = evaluate(model, "drp_gsm8k", sets, monkeypatch, limit=1,
                          gen_kwargs="temperature=0.7,do_sample=True,max_new_tokens=50")
    assert model.kwargs[0]["temperature"] == 0.7
    assert samples[0]["drp"]["protocol"]["temperature"] == 0.7
    assert samples[0]["drp"]["protocol"]["max_new_tokens"] == 50


def test_simple_models_get_the_prompt_as_text(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Simple(lambda text, n: answer(add(text)))
    results, _ = evaluate(model, "drp_gsm8k", sets, monkeypatch, limit=3)
    assert results["accuracy,none"] == 1 and "boxed" in model.heard[0]


def test_failed_requests_are_never_scored(
        sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failed = "[LMMS_EVAL_REQUEST_FAILED after 5]"
    model = Says(lambda turns, n: failed if n == 2 else answer(1))
    with pytest.raises(SystemExit) as stopped:
        evaluate(model, "drp_gsm8k", sets, monkeypatch, limit=3)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "no completion for question 1" in said


@pytest.mark.parametrize(("protocol", "said"), [
    ({"cuttoff": 3}, "protocol: field 'cuttoff'"),
    ({"prompt": "nope"}, "nope.jinja is missing"),
    ({"questions": "none_such"}, "no set of questions"),
])
def test_mistakes_in_a_yaml(tmp_path: Path, protocol: dict[str, Any], said: str,
                            capsys: pytest.CaptureFixture[str]) -> None:
    from drp_plugin.evaluation.task import DRPTask

    config = {"task": "mine", "output_type": "generate_until", "test_split": "test",
              "reasoning_tags": "none", "generation_kwargs": {"until": []},
              "protocol": {"questions": TINY, **protocol}}
    DRPTask(json.loads(json.dumps({**config, "protocol": {"questions": TINY}})))
    with pytest.raises(SystemExit) as stopped:
        DRPTask(config)
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def options(**given: Any) -> argparse.Namespace:
    """lmms-eval's command line, with its defaults."""
    return argparse.Namespace(**{
        "process_with_media": False, "reasoning_tags": '[["<think>", "</think>"], '
        '["<analysis>", "</analysis>"]]', "num_fewshot": None, "fewshot_as_multiturn": False,
        "use_cache": None, "cache_requests": None, "max_tokens": None, "baseline": None,
        "output_path": None, "seed": [0, 1234, 1234, 1234], "tasks": "x", **given})


@pytest.mark.parametrize(("given", "why"), [
    ({"num_fewshot": 4}, "zero-shot"), ({"fewshot_as_multiturn": True}, "zero-shot"),
    ({"use_cache": "/tmp/c"}, "finished completions are kept"),
    ({"cache_requests": "true"}, "prompts take no time"), ({"max_tokens": 10}, "max_new_tokens=N"),
    ({"baseline": "a.jsonl"}, "drp report"), ({"force_simple": True}, "chats alone"),
    ({"launcher_args": "name=sglang"}, "no model as judge"),
    ({"agentic_trace_mode": "full"}, "no agent"), ({"log_samples_suffix": "x"}, "date and task"),
    ({"reasoning_tags": '[["a", "b"]]'}, "thinking")])
def test_options_without_use_are_refused(
        sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        given: dict[str, Any], why: str) -> None:
    model = Says(lambda turns, n: answer(1))
    with pytest.raises(SystemExit) as stopped:
        evaluate(model, "drp_gsm8k", sets, monkeypatch, limit=1, cli_args=options(**given))
    said, refused = capsys.readouterr().err, next(iter(given))
    assert stopped.value.code == 2 and why in said and f"--{refused} has no effect" in said
    assert not model.heard  # before anything is asked


def test_neutral_options_say_nothing(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = evaluate(Says(lambda turns, n: answer(add(turns))), "drp_gsm8k", sets,
                          monkeypatch, limit=2, cli_args=options(num_fewshot=0))
    assert results["accuracy,none"] == 1


def test_a_checkpoint_is_asked_with_its_own_prompt(
        sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = Says(lambda turns, n: answer(add(turns)))
    results, samples = evaluate(model, "drp_gsm8k", sets, monkeypatch, limit=1,
                                gen_kwargs="prompt=eval_l1_max")
    (turn,) = model.heard[0]
    assert turn["content"][0]["text"].endswith("Think for maximum 3600 tokens.")
    assert "prompt" not in model.kwargs[0] and results["accuracy,none"] == 1
    assert samples[0]["drp"]["protocol"]["prompt"] == "eval_l1_max"
    with pytest.raises(SystemExit):
        evaluate(model, "drp_gsm8k", sets, monkeypatch, limit=1, gen_kwargs="prompt=eval_none")
    assert "prompt eval_none.jinja is missing" in capsys.readouterr().err


def test_repeats_of_a_greedy_task_are_refused(
        sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate(Says(lambda turns, n: answer(1)), "drp_gsm8k", sets, monkeypatch, limit=1,
                 repeats=4)
    assert "4 repeats would all be the same. Take drp_gsm8k_sampled" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "samples"), [
    ([], 4), (["-n", "1"], 1), (["-n1"], 1), (["--repeats=1"], 1), (["--num_samples", "1"], 1),
    (["--num_fewshot", "0"], 4)])
def test_one_sample_can_be_asked_for(sets: Path, monkeypatch: pytest.MonkeyPatch,
                                     words: list[str], samples: int) -> None:
    """-n 1 is also what lmms-eval takes where nothing is given."""
    monkeypatch.setattr("sys.argv", ["lmms-eval", "--tasks", "drp_math500_sampled", *words])
    _, rows = evaluate(Says(lambda turns, n: answer(n)), "drp_math500_sampled", sets, monkeypatch,
                       limit=1, cli_args=options(repeats=1))
    assert len(rows[0]["drp"]["completions"]) == samples


def test_numbers_of_samples_by_set() -> None:
    import yaml

    from drp_plugin.resources import resource

    for name, k in {"gsm8k": 1, "math500": 4, "aime24": 64, "amc23": 64, "aime25": 64}.items():
        file = resource("lmms_eval_tasks") / f"{name}_sampled.yaml"
        assert yaml.safe_load(file.read_text())["repeats"] == k


@pytest.mark.parametrize(("right", "samples", "j", "share"), [
    (1, 4, 1, 1 / 4), (1, 4, 2, 1 / 2), (2, 4, 2, 5 / 6), (0, 4, 4, 0), (4, 4, 1, 1),
    (3, 64, 32, 1 - 61 * 0 - (32 * 31 * 30) / (64 * 63 * 62))])
def test_pass_at_j_is_unbiased(right: int, samples: int, j: int, share: float) -> None:
    from itertools import combinations

    from drp_plugin.evaluation.task import pass_at

    assert pass_at(right, samples, j) == pytest.approx(share)
    if samples < 10:
        drawn = list(combinations([True] * right + [False] * (samples - right), j))
        assert pass_at(right, samples, j) == pytest.approx(sum(map(any, drawn)) / len(drawn))


def test_a_model_that_does_not_think(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokens are its answer's, and it is not cut off while thinking."""
    def say(turns: Any, n: int) -> GenerationResult:
        return GenerationResult(f"It is \\boxed{{{add(turns)}}}.", Counts(
            output_tokens=9, finish="stop", settings={"thinking": False}))

    results, samples = evaluate(Says(say), "drp_gsm8k", sets, monkeypatch, limit=4)
    assert results["accuracy,none"] == 1 and results["truncated,none"] == 0
    assert results["think_tokens,none"] == 0 and results["tokens,none"] > 0
    one = samples[0]["drp"]["completions"][0]
    assert one["answer_tokens"] == one["tokens"] and one["think_tokens"] == 0
    assert samples[0]["drp"]["protocol"]["thinking"] is False


def test_no_thinking_is_prefilled(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Says(lambda turns, n: "\\boxed{2}")
    results, samples = evaluate(model, "drp_gsm8k_nothinking", sets, monkeypatch, limit=1)
    assert [t["role"] for t in model.heard[0]] == ["user", "assistant"]
    assert model.heard[0][1]["content"][0]["text"] == "<think>\n\n</think>\n\n"
    assert results["accuracy,none"] == 1 and results["think_tokens,none"] == 0
    assert samples[0]["drp"]["protocol"]["prefill"]


def test_guard_sets_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with the fields of the sets on the hub, whose rows are read as from there."""
    def write(name: str, rows: list[dict[str, Any]]) -> None:
        (tmp_path / f"{name}_test.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows))

    write("aime25", [{"id": "1", "question": "q", "answer": "070"}])
    write("minerva", [{"id": "1", "question": "q", "answer": "x^2 + 1"}])
    write("olympiad", [
        {"id": i, "question": f"q{i}", "final_answer": [f"${i}$"], "is_multiple_answer": many,
         "answer_type": kind} for i, (many, kind) in enumerate(
            [(False, "Numerical"), (True, "Numerical"), (False, "Tuple"), (False, "Numerical")])])
    choice = {"Correct Answer": "right", "Incorrect Answer 1": "w1", "Incorrect Answer 2": "w2",
              "Incorrect Answer 3": "w3"}
    write("gpqa", [{"Question": f"q{i}", **choice} for i in range(20)])
    for task, text in {"drp_aime25": "\\boxed{70}", "drp_minerva": "\\boxed{1 + x^2}",
                       "drp_olympiad": "\\boxed{3}"}.items():
        results, samples = evaluate(Says(lambda t, n, text=text: f"so</think>{text}"), task,
                                    tmp_path, monkeypatch)
        if task == "drp_olympiad":
            assert [s["target"] for s in samples] == ["$0$", "$3$"], "as published"
            assert results["accuracy,none"] == 0.5
        else:
            assert results["accuracy,none"] == 1, task

    def choose(turns: Any, n: int) -> str:
        text = turns[-1]["content"][0]["text"]
        assert "the letter of the right choice" in text
        letter = next(line[0] for line in text.splitlines() if line.endswith(") right"))
        return f"so</think>The answer is \\boxed{{{letter}}}"

    results, samples = evaluate(Says(choose), "drp_gpqa", tmp_path, monkeypatch)
    assert results["accuracy,none"] == 1
    assert {s["target"] for s in samples} == set("ABCD")  # shuffled, and each time the same
    _, again = evaluate(Says(choose), "drp_gpqa", tmp_path, monkeypatch)
    assert [s["target"] for s in again] == [s["target"] for s in samples]


def test_another_tokenizer_than_the_protocols_is_said(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from drp_plugin.errors import UserError
    from drp_plugin.evaluation.task import _counter
    from drp_plugin.student import model_path
    from drp_plugin.tokens import TokenCounter

    real = TokenCounter.load

    def load(spec: Any = "qwen", **settings: Any) -> TokenCounter:
        if spec == "qwen":
            raise UserError("the Qwen tokenizer cannot be had")
        return real(spec, **settings)

    monkeypatch.setattr(TokenCounter, "load", load)
    counter = _counter("qwen", str(model_path()))
    assert counter.name != "qwen"
    said = capsys.readouterr().err
    assert said.count("drp: ") == 1 and f"the model's own tokenizer, {counter.name}" in said


@pytest.mark.parametrize(("inherited", "index", "name"), [
    (None, 1, "1"), ("4,5,6,7", 1, "5"), ("4, 5", 0, "4"), ("GPU-8f2c,GPU-91aa", 1, "GPU-91aa"),
    ("MIG-1/2/0,MIG-1/3/0", 0, "MIG-1/2/0")])
def test_the_gpu_of_a_rank_is_one_of_those_it_was_given(
        inherited: str | None, index: int, name: str) -> None:
    from drp_plugin.evaluation.models import visible_device

    assert visible_device(inherited, index) == name


def test_more_ranks_than_gpus() -> None:
    from drp_plugin.errors import UserError
    from drp_plugin.evaluation.models import visible_device

    with pytest.raises(UserError, match=r"GPU 2 is needed.*=4,5 gives 2"):
        visible_device("4,5", 2)


def test_budgets() -> None:
    from drp_plugin.evaluation.task_protocol import budget

    assert budget("[[12]] or [[ 30 ]]") == 30
    assert budget("[[0]]") is budget("12") is budget("[[-3]]") is budget("") is None


@pytest.mark.data
def test_real_traces_count_the_same_whichever_way_they_come(
        data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """240 R1 traces through lmms-eval, as its samples through `drp score`, and by themselves."""
    from click.testing import CliRunner

    from drp_plugin.cli.score import score as command

    def lines(path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]

    traces = [{"id": f"{i}", "dataset": "math500", "question": row["question"],
               "answer": row["answer"], "response": row["response"]} for i, row in
              enumerate(lines(data_dir / "traces_math_train_r1distill.jsonl"))]
    file = tmp_path / "math500_test.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in traces))
    results, samples = evaluate(Says(lambda turns, n: traces[n - 1]["response"]), "drp_math500",
                                tmp_path, monkeypatch)
    (tmp_path / "samples.jsonl").write_text("".join(
        json.dumps(sample, default=str) + "\n" for sample in samples))
    fields = ("correct", "outcome", "extracted", "tokens", "think_tokens", "truncated")
    told = {s["doc_id"]: [s["drp"]["completions"][0][f] for f in fields] for s in samples}
    for name in ("math500_test.jsonl", "samples.jsonl"):
        done = CliRunner().invoke(command, [str(tmp_path / name), "-o", str(tmp_path / "out.jsonl"),
                                            "--dataset", "math500"])
        assert done.exit_code == 0, done.output
        scored = lines(tmp_path / "out.jsonl")
        assert [[row[f] for f in fields] for row in scored] == [told[i] for i in range(240)]
    assert results["accuracy,none"] == sum(row[0] for row in told.values()) / 240
    assert results["tokens,none"] == pytest.approx(sum(row[3] for row in told.values()) / 240)
