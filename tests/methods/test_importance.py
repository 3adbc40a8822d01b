"""Step importance by a local model: known scores, and scores against a plain forward pass."""

from __future__ import annotations

import asyncio
import json

import pytest
from made_samples import sample

from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.methods import Given, importance, make
from drp_plugin.methods.importance import CHECKING
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.pruning.decompose import decompose_sentences
from drp_plugin.pruning.dialogue import Dialogue
from drp_plugin.pruning.flow import check_trace
from drp_plugin.records import Trace
from drp_plugin.student import model_path

MODEL = str(model_path())
OPTIONS = PruneOptions()
TEXT = ("First, 2 + 3 = 5. Wait, let me check. 3 + 2 = 5, good. Now 5 * 2 = 10. "
        "So the answer is 10. That is it.")
TRACE = Trace(id="t", question="2 and 3, twice?", answer="10", dataset="gsm8k",
              response=f"<think>\n{TEXT}\n</think>\n\n\\boxed{{10}}")


def kept(spec: str, values: list[float]) -> list[int]:
    """The steps that a method keeps when its model gives these scores."""
    pytest.importorskip("transformers")
    made = make(spec, Given(lambda: [], OPTIONS, lambda text: len(text.split())))

    async def ask(request: Request) -> Reply:
        return Reply(text=json.dumps(values))

    dialogue = Dialogue(RowClient(ask), OPTIONS, Prompts(), lambda text: len(text.split()))
    result = asyncio.run(made.prune(check_trace(TRACE, OPTIONS), dialogue))
    return [i for r in result.revisions if r.action == "KEEP" for i in r.steps]


def test_the_lowest_entropy_goes_and_the_answer_stays():
    assert kept(f"entropy:{MODEL}", [6, 5, 4, 3, 2, 1]) == [1, 5], "int(0.8 * 6) = 4 of 6 go"
    assert kept(f"entropy:{MODEL}", [1, 2, 6, 3, 0, 4]) == [3, 5]


def test_a_ratio_leaves_that_share_of_the_tokens():
    # 31 words: the response's tokens here
    assert kept(f"entropy:{MODEL}@0.9", [6, 5, 4, 3, 9, 1]) == [1, 2, 3, 4, 5]
    assert kept(f"entropy:{MODEL}@0.6", [6, 5, 4, 3, 9, 1]) == [1, 2, 5]


def test_a_step_that_the_answer_does_not_need_goes():
    assert kept(f"perplexity:{MODEL}", [1.0, 1.5, 1.0, 0.9, 1.1, 0.1, 1.2]) == [1, 4, 5, 6]
    assert kept(f"perplexity:{MODEL}@0.9", [1.0, 1.5, 1.4, 1.6, 1.7, 1.8, 1.1]) == [1, 2, 3, 4, 5]


def test_pir_prunes_steps_of_checking_alone():
    assert kept(f"pir:{MODEL}", [1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]) == [1, 3, 4, 5, 6]
    assert CHECKING.search("Hmm, let me double-check that.")
    assert not CHECKING.search("So 2 + 3 = 5.")


def test_scores_are_those_of_a_plain_forward_pass(monkeypatch):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setattr(importance, "_CHUNK", 7)
    checked = check_trace(TRACE, OPTIONS)
    steps = decompose_sentences(checked.thinking)
    rater = importance.Scorer(MODEL)
    dialogue = Dialogue(RowClient(rater.ask), OPTIONS, Prompts(), len)
    found = asyncio.run(importance.scores("entropy", checked, steps, dialogue))
    rated = asyncio.run(importance.scores("answer", checked, steps, dialogue))

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    head = "<｜Assistant｜><think>\n"
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": TRACE.question}],
                                           add_generation_prompt=True, tokenize=False)
    assert prompt.endswith(head)

    def logs(body: str):
        first = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        own = tokenizer(body, add_special_tokens=False, return_offsets_mapping=True)
        with torch.no_grad():
            out = model(torch.tensor([first + own["input_ids"]])).logits[0].log_softmax(-1)
        return out[len(first) - 1:-1], own

    each, own = logs(f"{TEXT}\n</think>\n\n\\boxed{{10}}")
    sums = [0.0] * len(steps)
    for row, (_, end) in zip(each, own["offset_mapping"], strict=True):
        for number, step in enumerate(steps):
            if step.start < end <= step.end:
                sums[number] += float(-(row.exp() * row).sum())
    assert found == pytest.approx(sums, abs=2e-3) and len(set(found)) == len(steps)

    def mean(thinking: str) -> float:
        ids = tokenizer("\\boxed{10}", add_special_tokens=False)["input_ids"]
        rows, _ = logs(f"{thinking}\n</think>\n\n\\boxed{{10}}")
        return -sum(float(rows[k - len(ids)][i]) for k, i in enumerate(ids)) / len(ids)

    assert rated[0] == pytest.approx(mean(TEXT), abs=1e-4)
    assert rated[2] == pytest.approx(mean(TEXT.replace("Wait, let me check. ", "")), abs=1e-4)
    assert rated[6] == pytest.approx(mean(TEXT.removesuffix(" That is it.")), abs=1e-4)


def test_a_trace_beyond_the_models_context_is_rejected(prune):
    pytest.importorskip("transformers")
    run = prune([sample("long", 700), sample("short", 2)], f"entropy:{MODEL}")
    assert [r["id"] for r in run.pruned] == ["short"]
    assert run.rejects[0]["reason"] == "request_failed" and "context" in run.rejects[0]["detail"]


def test_scores_are_kept_and_not_computed_again(prune, student_traces, monkeypatch):
    first = prune(student_traces, f"entropy:{MODEL}@0.5")
    assert first.summary["tokens_saved"] == pytest.approx(0.5, abs=0.05)
    monkeypatch.setattr(importance.Scorer, "_score", None)  # whoever asks it now fails
    assert prune(student_traces, f"entropy:{MODEL}@0.5").pruned == first.pruned


def test_the_students_answers_need_few_of_its_steps(prune, built, student_traces):
    run = prune(student_traces, f"perplexity:{MODEL}", "--limit", "4")
    assert run.pruned and run.summary["tokens_saved"] > 0
    assert built(run.folder, pairs=True)


def test_without_torch_one_line_says_what_to_install(prune, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    prune([sample("a", 1)], f"entropy:{MODEL}", code=2)
    err = capsys.readouterr().err
    assert "needs torch" in err and "pip install" in err and "Traceback" not in err


def test_a_model_that_is_not_there(prune, capsys, tmp_path):
    pytest.importorskip("transformers")
    prune([sample("a", 1)], f"perplexity:{tmp_path}/nothing", code=2)
    assert "there is no folder" in capsys.readouterr().err
    assert importance.SHARE == 0.8
