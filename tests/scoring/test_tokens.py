"""Counting and clipping by tokens."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import script
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from drp_plugin.errors import UserError
from drp_plugin.tokens import PIECES, QWEN_VARIABLE, R1_ADDED, TokenCounter, _counter

qwen_tokenizer = script("scripts/qwen_tokenizer.py")

TEXTS = ["Hello world", "12345 + 678 = 13023", "  spaces\n\n\tand tabs ", "naïve café 数学 😀",
         "\\frac{1}{2} \\boxed{\\dfrac{3}{4}}", "don't we'll I'M", "a" * 50, "\r\n\r\n", "x²+y²≤1"]


def test_think_tags_are_one_token_each(qwen: TokenCounter) -> None:
    inside = qwen.count("\nhm\n")
    assert qwen.count("<think>\nhm\n</think>") == inside + 2
    assert qwen.count("") == 0
    # no BOS, no EOS: an empty count beside a word's
    assert qwen.count("Hello") == 1


def test_ids_of_r1(qwen: TokenCounter) -> None:
    ids = {token: qwen._tokenizer.token_to_id(token) for token in R1_ADDED}
    assert ids["<｜end▁of▁sentence｜>"] == 151643
    assert ids["<think>"] == 151648 and ids["</think>"] == 151649
    assert ids["<|file_sep|>"] == 151664


def test_equals_tiktoken(qwen: TokenCounter) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    file = qwen_tokenizer.published_ranks()
    if file is None:
        pytest.skip("no published ranks here")
    ranks = {base64.b64decode(t): int(n) for t, n in map(bytes.split, file.read_bytes().split(
        b"\n")[:-1])}
    pattern = (r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"""
               r""" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")
    reference = tiktoken.Encoding("qwen", pat_str=pattern, mergeable_ranks=ranks,
                                  special_tokens={})
    for text in [*TEXTS, Path(__file__).read_text(encoding="utf-8")]:
        mine = qwen._tokenizer.encode(text, add_special_tokens=False).ids
        if "<think>" not in text and "｜" not in text and "<|" not in text:
            assert mine == reference.encode(text), text


def test_replay_of_ranks() -> None:
    """A small vocabulary: bytes, then 'ab', 'abc' = ab+c, 'bc' learned later."""
    tokens = [bytes([i]) for i in range(256)] + [b"ab", b"abc", b"bc"]
    ranks = b"\n".join(base64.b64encode(t) + b" %d" % i for i, t in enumerate(tokens))
    made = qwen_tokenizer.qwen_tokenizer_json(ranks)
    assert made["model"]["merges"] == [["a", "b"], ["ab", "c"], ["b", "c"]]  # type: ignore[index]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.text(max_size=40))
def test_parts_add_up(thinking: str, answer: str) -> None:
    counter = TokenCounter.load("qwen")
    whole = f"{thinking}</think>{answer}"
    count = counter.split_counts([whole])[0]
    assert count.total == counter.count(whole) == count.think + count.answer
    assert counter.counts([whole]) == [count.total]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.integers(0, 60))
def test_clip_is_the_longest_prefix_of_so_many_tokens(text: str, n: int) -> None:
    counter = TokenCounter.load("qwen")
    clipped = counter.clips(text, [n])[0]
    text = text.encode("utf-8", "replace").decode()
    assert text.startswith(clipped)
    if counter.count(text) <= n:
        assert clipped == text
    elif n == 0:
        assert clipped == ""


def test_clip_never_cuts_through_a_character(qwen: TokenCounter) -> None:
    text = "😀漢字é" * 10
    for n in range(qwen.count(text) + 1):
        prefix = qwen.clips(text, [n])[0]
        assert text.startswith(prefix)
        assert qwen.count(prefix) <= n


def test_clip_at_several(qwen: TokenCounter) -> None:
    text = " ".join(map(str, range(500)))
    assert qwen.clips(text, [1, 10, 100]) == [qwen.clips(text, [n])[0] for n in (1, 10, 100)]
    assert qwen.count(qwen.clips(text, [100])[0]) == 100


def test_a_folder_and_a_file(tmp_path: Path, qwen: TokenCounter) -> None:
    qwen._tokenizer.save(str(tmp_path / "tokenizer.json"))
    for spec in (tmp_path, tmp_path / "tokenizer.json"):
        other = TokenCounter.load(spec)
        assert other.counts(TEXTS) == qwen.counts(TEXTS)
        assert other.same_as(qwen)


def test_a_tokenizer_that_does_not_know_the_tags(tmp_path: Path) -> None:
    """There the tag is text, and may share tokens with its neighbours."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    counter = TokenCounter.load(tmp_path)
    count = counter.split_counts(["a b</think>c d"])[0]
    assert count.total == counter.count("a b</think>c d") == 3
    assert (count.think, count.answer) == (2, 1)


@pytest.mark.parametrize("spec", ["no-such-thing", "./missing.json", "/no/such/folder"])
def test_unknown_specs_are_one_line(spec: str) -> None:
    with pytest.raises(UserError) as raised:
        TokenCounter.load(spec)
    assert "\n" not in str(raised.value) and "qwen" in str(raised.value)


def test_offline_hub_names_fail_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    monkeypatch.setattr("socket.create_connection", lambda *a, **k: tried.append(a))
    with pytest.raises(UserError, match="hub"):
        TokenCounter.load("nobody/nothing-here")
    assert not tried


@pytest.fixture
def no_qwen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine on which Qwen's tokenizer cannot be had."""
    monkeypatch.delenv(QWEN_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("drp_plugin.tokens._from_hub", lambda *repositories: None)
    _counter.cache_clear()
    yield
    _counter.cache_clear()


def test_without_qwen_the_pieces_count_by_name_or_not_at_all(no_qwen: None) -> None:
    with pytest.raises(UserError, match=QWEN_VARIABLE):
        TokenCounter.load("qwen")
    counter = TokenCounter.load("qwen", exact=False)
    assert counter.name == PIECES
    assert counter.count("Wait, 12 + 3 = 15.") == 13  # each digit, each sign with its space
    assert counter.split_counts(["<think>\nhm\n</think>ok"])[0] == (6, 5)
    assert counter.clips("so it is", [2])[0] == "so it"
    assert counter.count("数学") == 2
    with pytest.raises(UserError):  # no stand-in for a folder that was named
        TokenCounter.load("/no/such/folder", exact=False)


def test_pieces_are_never_more_than_qwens_tokens(qwen: TokenCounter) -> None:
    pieces = TokenCounter.load(PIECES)
    for text in [*(t for t in TEXTS if "数" not in t), Path(__file__).read_text(encoding="utf-8")]:
        assert 0 < pieces.count(text) <= qwen.count(text), text


def test_pieces_on_real_traces(qwen: TokenCounter, data_dir: Path) -> None:
    """What the note on stderr and the docstring claim."""
    path = data_dir / "traces_math_train_r1distill.jsonl"
    rows = [json.loads(line)["response"] for line in path.read_text("utf-8").splitlines()]
    shares = [a / b for a, b in zip(TokenCounter.load(PIECES).counts(rows), qwen.counts(rows),
                                    strict=True)]
    assert min(shares) > 0.87 and max(shares) <= 1
    total = sum(TokenCounter.load(PIECES).counts(rows)) / sum(qwen.counts(rows))
    assert round(total, 3) == 0.973


def test_the_variable_names_a_file_or_its_folder(no_qwen: None, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    TokenCounter.load(PIECES)._tokenizer.save(str(tmp_path / "tokenizer.json"))
    for named in (tmp_path, tmp_path / "tokenizer.json"):
        monkeypatch.setenv(QWEN_VARIABLE, str(named))
        _counter.cache_clear()
        assert TokenCounter.load("qwen").name == "qwen"
    monkeypatch.setenv(QWEN_VARIABLE, str(tmp_path / "nowhere"))
    _counter.cache_clear()
    for exact in (True, False):  # a wrong path is a mistake, not a reason to approximate
        with pytest.raises(UserError, match="nowhere"):
            TokenCounter.load("qwen", exact=exact)


def test_the_script_writes_where_it_is_looked_for(no_qwen: None, capsys) -> None:
    if qwen_tokenizer.published_ranks() is None:
        pytest.skip("no published ranks here")
    assert qwen_tokenizer.main([]) == 0
    assert TokenCounter.load("qwen").count("Hello world") == 2


def test_score_and_prune_name_the_stand_in(no_qwen: None, tmp_path: Path) -> None:
    from drp_plugin.cli import group

    (tmp_path / "c.jsonl").write_text(json.dumps({
        "id": "1", "question": "1+1?", "answer": "2",
        "response": "<think>\n1+1 is 2. Wait, so 2.\n</think>\n\n\\boxed{2}"}) + "\n")
    for arguments in (["score", "c.jsonl", "-o", "s.jsonl"],
                      ["prune", "c.jsonl", "-o", "run", "--teacher", "offline"]):
        done = CliRunner().invoke(group, [a if "." not in a and a != "run" else str(tmp_path / a)
                                          for a in arguments])
        assert done.exit_code == 0 and f"counted by {PIECES}" in done.stderr
    assert json.loads((tmp_path / "s.jsonl").read_text())["tokenizer"] == PIECES
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["tokenizer"] == PIECES


def test_not_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(UserError, match="not a tokenizer"):
        TokenCounter.load(tmp_path)
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        TokenCounter.load(tmp_path.parent / tmp_path.name / ".." / tmp_path.name / "..")


def test_lone_surrogates_are_counted(qwen: TokenCounter) -> None:
    assert qwen.count("a\ud800b") > 0


def test_importing_loads_nothing_heavy() -> None:
    code = ("import sys, drp_plugin.tokens, drp_plugin.grading, drp_plugin.scoring, "
            "drp_plugin.report, drp_plugin.cli.score\n"
            "heavy = {'torch', 'transformers', 'sympy', 'matplotlib', 'math_verify', 'numpy', "
            "'tokenizers', 'dashscope', 'lmms_eval', 'huggingface_hub'}\n"
            "print(sorted(heavy & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SNIPPETS = list("abXYZ  \n\n\r\t'sStTrReEvVmMlLdD0123456789.,;!?()[]{}<>/\\|-_=+*^$%é×²³½πθ数한"
              "\u00a0\u3000\u200b\u0301\u00ad\u1c5a\ufe0f😀")
SNIPPETS += ["<think>", "</think>", "<|EOT|>", "<th"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SNIPPETS), max_size=40).map("".join) | st.text(max_size=40))
def test_counting_by_words_is_exact(qwen: TokenCounter, text: str) -> None:
    assert qwen._words is not None
    text = text.encode("utf-8", "replace").decode()
    slow = len(qwen._tokenizer.encode(text, add_special_tokens=False))
    assert qwen.count(text) == qwen.count(text) == slow  # encoded, and from the table


@pytest.mark.parametrize("text", [
    "plain words, 12 + 3", "a\x1cb", "ſ K", "😀", "e\u0301", "'S 'T I'LL", "x²  \n\n  y",
    " \u00a0 a", "so  <think> a", "a \t<think>", "  a", "a  b \n c", " ", ""])
def test_words_at_the_edges(qwen: TokenCounter, text: str) -> None:
    assert qwen.count(text) == len(qwen._tokenizer.encode(text, add_special_tokens=False))


def test_other_tokenizers_are_asked_themselves() -> None:
    from tokenizers import Tokenizer, models

    from drp_plugin.tokens import word_counter

    assert word_counter(Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))) is None
