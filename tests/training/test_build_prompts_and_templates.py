"""What `drp build` trains on: the traces' own prompt, any student's template, no set lost."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
import tiny_models as tiny
from click.testing import CliRunner

from drp_plugin.cli.sets import build as command
from drp_plugin.errors import UserError
from drp_plugin.prompts import Prompts
from drp_plugin.records import Pruned, Trace
from drp_plugin.training.preflight import framework
from drp_plugin.training.sft_set import SetSettings, build
from drp_plugin.training.templates import chat_layout, family


def asked(file: Path) -> set[str]:
    return {row["conversations"][0]["value"].partition("\n")[2] for row in json.loads(
        file.read_text(encoding="utf-8"))}


BOXED = Prompts().render("eval_boxed", question="Q").partition("\n")[2]


@pytest.mark.parametrize(("recorded", "given", "wanted"), [
    ("eval_boxed", None, BOXED), ("eval_boxed", "none", ""), (None, None, ""),
    (None, "eval_boxed", BOXED), ("eval_plain", None, ""), ("eval_plain", "eval_boxed", BOXED),
])
def test_the_prompt_that_is_trained(write_rows, tmp_path, recorded, given, wanted):
    rows = [row | ({"prompt": recorded} if recorded else {}) for row in tiny.rows(6)]
    built = build([write_rows(rows)], tmp_path / "d", SetSettings(name="x", prompt=given))
    assert asked(built.file) == {wanted}
    said = any("bare question" in note for note in built.notes)
    assert said == (recorded is None and given is None)
    known = next(iter(built.card["prompts"]))
    assert known == {"": "not recorded" if given or not recorded else recorded}.get(
        wanted, "eval_boxed")


def test_a_prompt_of_ones_own_and_several_of_them(write_rows, tmp_path):
    own = tmp_path / "mine.jinja"
    own.write_text("{{ question }}\nAnswer in one word.")
    rows = [row | {"prompt": str(own)} if i % 2 else row | {"prompt": "eval_boxed"}
            for i, row in enumerate(tiny.rows(6))]
    built = build([write_rows(rows)], tmp_path / "d", SetSettings(name="x"))
    assert asked(built.file) == {"Answer in one word.", BOXED}
    assert "several prompts" in built.notes[0]
    for wrong in ("eval_nothing", str(tmp_path / "no.jinja"), "eval_tale"):
        with pytest.raises(UserError):
            build([write_rows(rows)], tmp_path / "e", SetSettings(name="x", prompt=wrong))
    assert not (tmp_path / "e").exists()


def test_traces_and_pruned_rows_carry_the_prompt(tmp_path):
    assert Trace.model_fields["prompt"].default is Pruned.model_fields["prompt"].default is None
    (tmp_path / "eval_boxed.jinja").write_text("{{ question }} Box it.")
    assert Prompts().origin("eval_boxed") == "eval_boxed"
    assert Prompts(tmp_path).origin("eval_boxed") == str(tmp_path / "eval_boxed.jinja")
    assert Prompts(tmp_path).origin("eval_plain") == "eval_plain"


def test_a_set_with_other_rows_stays_unless_told(write_rows, tmp_path):
    run, folder = write_rows(tiny.rows(8)), tmp_path / "d"
    arguments = [str(run), "-o", str(folder), "--name", "x"]
    call = lambda *more: CliRunner().invoke(command, [*arguments, *more], standalone_mode=False)  # noqa: E731
    assert call().return_value == 0
    file = folder / "x.json"
    before, date = file.read_bytes(), file.stat().st_mtime_ns
    assert call().return_value == 0  # the same rows and settings: nothing to lose
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (before, date)
    card = (folder / "x.card.json").read_bytes()
    for changed in (["--seed", "7"], ["--size", "3"], ["--prompt", "eval_boxed"]):
        refused = call(*changed)
        assert isinstance(refused.exception, UserError) and "--replace" in str(refused.exception)
        assert file.read_bytes() == before and (folder / "x.card.json").read_bytes() == card
    assert call("--seed", "7", "--replace").return_value == 0  # the advice
    assert file.read_bytes() != before
    assert call("--name", "y", "--seed", "8").return_value == 0  # and its other half


@pytest.mark.parametrize("settings", [{"template": "nope"}, {"ratio": {"zzz": 1.0}}])
def test_a_build_that_fails_leaves_no_folder(write_rows, tmp_path, settings):
    run = write_rows(tiny.rows(4))
    with pytest.raises(UserError):
        build([run], tmp_path / "a" / "b", SetSettings(name="x", **settings))
    assert not (tmp_path / "a").exists()


def test_a_build_that_fails_while_it_writes_leaves_no_folder(write_rows, tmp_path, monkeypatch):
    from drp_plugin.training import dataset_info

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_info, "check_free", lambda *_: None)
    monkeypatch.setattr("drp_plugin.training.sft_set._text", full)
    with pytest.raises(OSError, match="No space"):
        build([write_rows(tiny.rows(4))], tmp_path / "a" / "b", SetSettings(name="x"))
    assert not (tmp_path / "a").exists()


def test_memory_holds_names_and_not_texts(tmp_path):
    """600 rows of 60 kB, 36 MB of text, in a run directory."""
    run = tmp_path / "run"
    run.mkdir()
    with (run / "pruned.jsonl").open("w") as file:
        for i in range(600):
            file.write(json.dumps({
                "id": f"q/{i}", "question": f"What is {i} + 1?", "dataset": "a",
                "response": f"<think>\n{'so it goes on. ' * 4000}{i}\n</think>\n\nIt is {i + 1}."})
                + "\n")
    build([run], tmp_path / "w", SetSettings(name="warm", size=1))  # imports are not counted
    tracemalloc.start()
    try:
        built = build([run], tmp_path / "d", SetSettings(name="x"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert built.rows == 600
    assert built.file.stat().st_size > 30e6 > 5 * peak


# Templates of other students.


def test_a_layout_without_llama_factory_is_the_chat_templates(tmp_path, monkeypatch):
    def absent(name: str) -> None:
        raise ImportError("No module named 'llamafactory'", name="llamafactory")

    monkeypatch.setattr(framework, "_part", absent)
    folder = tiny.byte_tokenizer(tmp_path / "m", chat=tiny.chat_template("chat_chatml"),
                                 added=tiny.QWEN3_TOKENS, bos=None, eos="<|im_end|>")
    layout, note = family("llama9", str(folder))
    assert layout.prompt("Hi") == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert layout.end.startswith("<|im_end|>") and "chat template" in note
    for tokenizer in (None, "qwen", str(tmp_path / "nowhere")):
        with pytest.raises(UserError, match="--tokenizer FOLDER"):
            family("llama9", tokenizer)
    with pytest.raises(UserError, match="no chat template"):
        chat_layout("x", tmp_path)


@pytest.mark.framework
def test_layouts_are_llama_factorys(byte_model):
    pytest.importorskip("llamafactory")
    from drp_plugin.training.templates import FAMILIES

    tokenizer = framework.tokenizer_of(str(byte_model))
    for name, ours in FAMILIES.items():  # those that need no LLaMA-Factory are its own as well
        theirs = framework.layout(name, tokenizer)
        assert theirs.prompt("Q") == ours.prompt("Q")
        assert theirs.end == ours.end or (theirs.end == "" and name == "deepseekr1")
    smol, _ = family("smollm2", str(byte_model))
    assert smol.prompt("Q").startswith("<|im_start|>system\nYou are a helpful AI assistant named")
    assert smol.marks() == ("<|im_start|>", "<|im_end|>")
    with pytest.raises(UserError, match="Did you mean 'smollm2'"):
        family("smollm22")
