"""Requests, ledger, loops, model identity, questions."""

from __future__ import annotations

import gzip
import json
import random
import threading
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Entry, Ledger
from drp_plugin.llm.messages import Message
from drp_plugin.loops import loop_period, token_period
from drp_plugin.sampling.arguments import check, flag, integer
from drp_plugin.sampling.completions import (
    Completion,
    Failed,
    Outcome,
    Sampler,
    SampleRequest,
)
from drp_plugin.sampling.pretrained import derived_seed, fingerprint, identity
from drp_plugin.sampling.questions import load
from drp_plugin.sampling.through_ledger import _Claims, complete, draw, opened


def asked(text: str, **settings: Any) -> SampleRequest:
    return SampleRequest(messages=(Message(role="user", content=text),), **settings)


class Script(Sampler):
    """A sampler that says what it was told to, and remembers what it was asked."""

    identity: ClassVar[dict[str, Any]] = {"engine": "script"}

    def __init__(self, fails: set[str] = frozenset(), dies_after: int | None = None) -> None:
        self.fails, self.dies_after = fails, dies_after
        self.asked: list[str] = []

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
        requests = list(requests)
        for done, index in enumerate(reversed(range(len(requests)))):
            if done == self.dies_after:
                raise RuntimeError("killed")
            text = requests[index].messages[0].content
            self.asked.append(text)
            yield index, Failed(error="no") if text in self.fails else Completion(
                text=text.upper(), tokens=1, prompt_tokens=1, finish="stop")


def test_outcomes_come_in_order_and_equal_requests_are_drawn_once() -> None:
    sampler = Script()
    with opened(None) as ledger:
        outcomes = complete(sampler, [asked("a"), asked("b"), asked("a")], ledger)
    assert [o.text for o in outcomes] == ["A", "B", "A"]
    assert sorted(sampler.asked) == ["a", "b"]


def test_equal_requests_fail_together_and_each_is_reported() -> None:
    sampler, seen = Script(fails={"a"}), []
    with opened(None) as ledger:
        outcomes = complete(sampler, [asked("a"), asked("b"), asked("a"), asked("b")], ledger,
                            lambda n, outcome: seen.append((n, type(outcome))))
    assert [type(o) for o in outcomes] == [Failed, Completion] * 2
    assert sorted(sampler.asked) == ["a", "b"]
    assert sum(n for n, _ in seen) == 4 and seen.count((1, Failed)) == 2


def test_what_is_stored_is_not_drawn_again(tmp_path: Path) -> None:
    requests = [asked(c) for c in "abcdef"]
    with Ledger(tmp_path / "l.sqlite") as ledger, pytest.raises(RuntimeError):
        complete(Script(dies_after=4), requests, ledger)
    again, seen = Script(), []
    with Ledger(tmp_path / "l.sqlite") as ledger:
        outcomes = complete(again, requests, ledger, lambda n, outcome: seen.append((n, outcome)))
    assert [o.text for o in outcomes] == list("ABCDEF")
    assert sorted(again.asked) == ["a", "b"]
    assert sum(n for n, _ in seen) == 6 and seen[0] == (4, None)


def test_failures_are_not_stored(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        first = complete(Script(fails={"b"}), [asked("a"), asked("b")], ledger)
        assert [type(o) for o in first] == [Completion, Failed]
        second = complete(Script(), [asked("a"), asked("b")], ledger)
        assert [o.text for o in second] == ["A", "B"]


def test_a_silent_engine_is_a_failure() -> None:
    class Silent(Script):
        def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
            list(requests)
            return iter(())

    with opened(None) as ledger:
        assert isinstance(complete(Silent(), [asked("a")], ledger)[0], Failed)


def test_what_another_process_draws_is_waited_for_and_taken_over_when_it_fails(
        tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The other one stores one of its two completions and gives the other up."""
    requests = [asked(c) for c in "abcd"]
    with Ledger(tmp_path / "l.sqlite") as mine, Ledger(tmp_path / "l.sqlite") as other:
        keys = [r.key(Script.identity) for r in requests]
        assert other.claim(keys[1]) and other.claim(keys[2])

        class Other(Script):
            def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
                yield from super().sample(requests)
                if self.asked == ["d", "a"]:
                    threading.Timer(0.3, finish).start()

        def finish() -> None:
            theirs = Completion(text="theirs", tokens=1, prompt_tokens=1, finish="stop")
            other.put(Entry(keys[1], theirs.model_dump()))
            other.release(keys[1])
            other.release(keys[2])

        sampler = Other()
        outcomes = complete(sampler, requests, mine)
        assert all(other.claim(key) for key in keys)  # nothing stays claimed
    assert [o.text for o in outcomes] == ["A", "theirs", "C", "D"]
    assert sampler.asked == ["d", "a", "c"]
    assert ", which draws the other 2" in capsys.readouterr().err


def test_completions_are_not_held_in_memory() -> None:
    """Ten times the rows take no more memory than their keys."""
    class Long(Script):
        def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
            for index, _ in enumerate(requests):
                yield index, Completion(text=f"{index} " * 20_000, tokens=1, prompt_tokens=1,
                                        finish="stop")

    def peak(n: int) -> int:
        requests = [asked("q", seed=i) for i in range(n)]
        with opened(None) as ledger:
            tracemalloc.start()
            draw(Long(), requests, ledger)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    peak(2)
    assert peak(300) - peak(30) < 270 * 4_000  # a completion has 80,000 characters and more


class Many(Sequence[SampleRequest]):
    """So many requests, each made when it is looked at."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, place: Any) -> Any:
        return asked("q", seed=range(self.n)[place])


def test_keys_are_not_held_in_memory() -> None:
    """Requests with a stored completion, and those that wait for another process."""
    def peak(n: int) -> int:
        with opened(None) as ledger, Ledger(ledger.path) as other:
            keys = [request.key({}) for request in Many(n)]
            ledger.put(*(Entry(key, {}) for key in keys[::2]))
            for key in keys[1::2]:
                other.claim(key)
            tracemalloc.start()
            claims = _Claims(Script(), Many(n), ledger, range(n), {}, lambda n, outcome: None)
            claims.identity = {}
            assert list(claims) == [] and len(claims.others) == n // 2
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    peak(1000)
    assert peak(3000) - peak(1000) < 2000 * 50  # a key alone takes more


@pytest.mark.parametrize("change", [
    {"temperature": 0.7}, {"top_p": 0.9}, {"seed": 1}, {"max_new_tokens": 5}, {"top_k": 3},
    {"stop_loops": True}, {"cutoff": 9}])
def test_every_setting_is_part_of_the_key(change: dict[str, Any]) -> None:
    assert asked("a").key({}) != asked("a", **change).key({})
    assert asked("a").key({}) != asked("a").key({"model": "x"})


def test_seeds_differ_by_question_and_sample() -> None:
    seeds = {derived_seed(s, text, k) for s in (0, 1) for text in "ab" for k in range(3)}
    assert len(seeds) == 12 and all(0 <= seed < 2**31 for seed in seeds)
    assert derived_seed(0, "a", 1) == derived_seed(0, "a", 1)


def test_fingerprint_follows_the_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1" * 10)
    before = fingerprint(str(tmp_path))
    (tmp_path / "README.md").write_text("no matter")
    assert fingerprint(str(tmp_path)) == before
    (tmp_path / "model.safetensors").write_bytes(b"2" * 10)
    assert fingerprint(str(tmp_path)) != before
    assert fingerprint("org/model", "v1") != fingerprint("org/model", "v2")


def test_everything_that_changes_a_completion_is_part_of_the_identity(tmp_path: Path) -> None:
    template, adapter = tmp_path / "t.jinja", tmp_path / "adapter"
    template.write_text("a")
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    plain = identity("vllm", "org/model")
    for settings in ({"dtype": "float16"}, {"quantization": "awq"}, {"max_model_len": 512},
                     {"chat_template": str(template)}, {"revision": "v2"},
                     {"adapter": str(adapter)}, {"tokenizer": str(adapter)},
                     {"hf_overrides": {"rope_scaling": None}}):
        assert identity("vllm", "org/model", **settings) != plain, settings
    for speed in ({"tensor_parallel_size": 4}, {"max_num_seqs": 1}, {"workers": 3},
                  {"gpu_memory_utilization": 0.5}, {"adapter": None}):
        assert identity("vllm", "org/model", **speed) == plain
    before = identity("vllm", "m", chat_template=str(template), tokenizer=str(adapter))
    template.write_text("b")
    changed = identity("vllm", "m", chat_template=str(template), tokenizer=str(adapter))
    (adapter / "adapter_config.json").write_text("{ }")
    again = identity("vllm", "m", chat_template=str(template), tokenizer=str(adapter))
    assert before != changed != again
    assert json.loads(json.dumps(again)) == again


def test_a_local_teacher_is_known_by_its_weights_and_arguments(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM itself, which a light environment has not, is the only thing left out."""
    from drp_plugin.teachers import vllm_local

    monkeypatch.setattr(vllm_local, "arguments", lambda *given: {})
    (tmp_path / "model.safetensors").write_bytes(b"1")

    def known(**engine: Any) -> str:
        return json.dumps(vllm_local.VllmTeacher(str(tmp_path), engine=engine).identity)

    first = known()
    assert known() == first == known(tensor_parallel_size=2)
    assert len({first, known(dtype="float16"), known(max_model_len=4096)}) == 3
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert known() != first


@pytest.mark.parametrize("p", [1, 2, 17, 31])
def test_periods_are_found(p: int) -> None:
    rng = random.Random(p)
    head = [rng.randrange(1000) for _ in range(500)]
    unit = [rng.randrange(1000) for _ in range(p)]
    assert token_period(head + unit * (400 // p + 1)) == p
    assert token_period(head + unit * 2) is None


def test_lists_and_random_text_are_no_loops() -> None:
    rng = random.Random(0)
    assert token_period([rng.randrange(50) for _ in range(3000)]) is None
    counting = [t for n in range(500) for t in (1, 2, 1000 + n)]
    assert token_period(counting) is None


@pytest.mark.parametrize("unit", ["ab", "Wait, 12 + 7 is 19. ", "数 = 4;\n"])
def test_what_an_engine_stops_as_a_loop_is_counted_as_one(unit: str) -> None:
    text = "So it begins. " + unit * 400
    for end in range(200, len(text), 7):
        if token_period([ord(c) for c in text[:end]]) is not None:
            assert loop_period(text[:end]) is not None, end
            return
    pytest.fail("it was never stopped")
    assert token_period([]) is None


def test_files_of_questions(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps({"question": "1+1?", "answer": 2}) + "\n"
                    + json.dumps({"id": "x", "problem": "?"}) + "\n")
    rows = load(str(file))
    assert [(r.id, r.question, r.answer) for r in rows] == [("q-1", "1+1?", "2"), ("x", "?", None)]


@pytest.mark.parametrize(("text", "said"), [
    ('{"id": "a"}', "row 1: field 'question' is missing"),
    ("nonsense", "row 1: not JSON"),
    ('{"id": "a", "question": "?"}\n{"id": "a", "question": "!"}',
     "row 2: the same id as in row 1"),
])
def test_bad_files_of_questions(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(text)
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        load(str(file))


def test_sets_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRP_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"aime24_test.jsonl: no such file.*id, question"):
        load("aime24_test")
    file = tmp_path / "aime24_test.jsonl"
    file.write_text('{"id": "a", "question": "?", "answer": "33"}\n{"id": "b", "question": "?"}\n')
    with pytest.raises(UserError, match="row 2: field 'answer' is missing"):
        load("aime24_test")
    file.write_text('{"id": "a", "question": "?", "answer": "33"}\n')
    assert load("aime24_test")[0].dataset == "aime24"


@pytest.mark.parametrize("kind", ["jsonl", "json", "jsonl.gz"])
def test_a_set_as_it_was_published(kind: str, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """GSM8K's own file has no ids, and its answers are whole solutions."""
    rows = [{"question": f"{n}+1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"} for n in (1, 2)]
    lines = "\n".join(map(json.dumps, rows)).encode()
    (tmp_path / f"gsm8k_test.{kind}").write_bytes(
        json.dumps(rows).encode() if kind == "json" else
        gzip.compress(lines) if kind == "jsonl.gz" else lines)
    monkeypatch.setenv("DRP_DATA_DIR", str(tmp_path))
    for found in (load("gsm8k_test"), load(str(tmp_path / f"gsm8k_test.{kind}"))):
        assert [(r.id, r.answer) for r in found] == [("gsm8k_test-1", "2"), ("gsm8k_test-2", "3")]


def test_an_unreachable_hub_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.delenv("DRP_DATA_DIR", raising=False)
    with pytest.raises(UserError, match=r"openai/gsm8k cannot be loaded.*DRP_DATA_DIR"):
        load("gsm8k_test")


def test_the_embedded_family_by_name() -> None:
    rows = load("tiny:eval:steps2+steps3:7")
    assert len(rows) == 7 and len({r.id for r in rows}) == 7
    assert sum("steps2" in r.id for r in rows) == 4
    assert {r.dataset for r in load("tiny:eval:ood:2")} == {"tiny_ood"}
    for wrong in ("tiny:eval:steps9:3", "tiny:x", "tiny:sft:ood:3", "nothing"):
        with pytest.raises(UserError):
            load(wrong)


def test_arguments() -> None:
    wrong = r"no argument 'max_new_token'.*Did you mean 'max_new_tokens'"
    with pytest.raises(UserError, match=wrong):
        check({"max_new_token": 1}, ["max_new_tokens", "seed"], "drp_hf")
    assert integer("n", "3") == 3 and integer("n", None) is None
    for bad in ("x", 0, 1.5):
        with pytest.raises(UserError, match="n="):
            integer("n", bad)
    assert flag("f", "True") and not flag("f", 0)
    with pytest.raises(UserError):
        flag("f", "maybe")
