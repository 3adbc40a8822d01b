"""ThinkPrune: the reward, the settings, and the three stages for real on a random model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from checkout import script

from drp_plugin.errors import UserError

script("recipes/thinkprune/settings.py")  # puts their folder on the path
from reward import length_limited_reward, reward_of  # noqa: E402
from settings import Config, from_numina, load_questions, read_config  # noqa: E402

RECIPES = Path(__file__).resolve().parents[2] / "recipes" / "thinkprune"


@pytest.mark.parametrize(("text", "ended", "value"), [
    ("a\n</think>\n\nThe answer is \\boxed{42}.", True, 1.0),
    ("a\n</think>\n\nThe answer is 42.", True, 1.0),
    ("a\n</think>\n\nThe answer is \\boxed{41}.", True, 0.0),
    ("so it is \\boxed{42} and", False, 0.0),  # cut in the thinking: no answer
    ("so it is \\boxed{42}", True, 0.0),  # never left the thinking
    ("a\n</think>\n\nFirst 40, then 42", True, 0.0),  # a last number is no answer
    ("", True, 0.0),
])
def test_reward(text, ended, value):
    assert reward_of(text, "42", None, ended) == value


class Letters:
    """A tokenizer of one character a token."""

    eos_token_id = 0

    def decode(self, ids, *, skip_special_tokens):
        assert not skip_special_tokens
        return "".join(map(chr, ids))


def test_reward_counts_nothing_beyond_the_limit():
    right = [*map(ord, "x</think>\\boxed{7}"), 0]
    wrong = [*map(ord, "x</think>\\boxed{8}"), 0]
    answers = ["7", "7", "7"]
    loop = [ord("x")] * 500
    full = length_limited_reward(Letters(), len(right))
    assert full(completion_ids=[right, wrong, loop], answer=answers, prompts=[]) == [1.0, 0.0, 0.0]
    # one token short of the box's end there is no answer
    short = length_limited_reward(Letters(), len(right) - 2)
    assert short(completion_ids=[right, wrong, loop], answer=answers) == [0.0, 0.0, 0.0]


def test_numina_rows():
    rows = [
        {"source": "amc_aime", "problem": "P1", "solution": "so \\boxed{\\frac{1}{2}}."},
        {"source": "amc_aime", "problem": "P1", "solution": "again \\boxed{3}"},
        {"source": "amc_aime", "problem": "P2", "solution": "no box"},
        {"source": "olympiads", "problem": "P3", "solution": "\\boxed{1}"},
    ]
    assert [(q.question, q.answer) for q in from_numina(rows)] == [("P1", "\\frac{1}{2}")]


@pytest.mark.parametrize("name", ["qwen1_5b", "qwen7b", "tiny"])
def test_recipes_are_valid_and_open_with_their_command(name):
    path = RECIPES / f"{name}.yaml"
    config = read_config(path, [])
    assert f"recipes/thinkprune/{name}.yaml" in path.read_text().split("\n\n")[0]
    assert list(config.limits) == sorted(config.limits, reverse=True)
    if name != "tiny":
        assert config.limits == (4000, 3000, 2000)
        assert (config.group_size, config.prompts_per_step) == (16, 128)
        assert (config.beta, config.clip, config.temperature) == (0.001, 0.2, 1.0)
        assert config.accumulation(4) * config.per_device_batch * 4 == 16 * 128


@pytest.mark.parametrize(("overrides", "says"), [
    (["limits=[2000, 3000]"], "limits must fall"),
    (["limits=[2000, 0]"], "limits must fall"),
    (["group_sise=3"], "'group_sise' is unknown. Did you mean 'group_size'"),
    (["colour=red"], "'colour' is unknown. See recipes"),
    (["5=red"], "'5' is unknown"),
    (["per_device_batch=7", "prompts_per_step=4", "group_size=2"],
     r"tiny.yaml: prompts_per_step x group_size is 4 x 2 = 8, .* multiple of per_device_batch 7"),
    (["steps=0"], "field 'steps': .*greater than"),
    (["learning_rate=.inf"], "field 'learning_rate': .*finite"),
    (["model=[a]"], "field 'model' is no text"),
    (["lora_rank"], "KEY=VALUE"),
    (["limits=[3"], "not YAML"),
    (["system_prompt=Use {x} tokens"], "no other braces"),
])
def test_bad_settings_are_one_line(overrides, says):
    with pytest.raises(UserError, match=says) as error:
        read_config(RECIPES / "tiny.yaml", overrides)
    assert "\n" not in str(error.value) and "Value error" not in str(error.value)
    assert "field ''" not in str(error.value)


def test_questions_need_gold_answers(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": "1", "question": "a"}\n')
    with pytest.raises(UserError, match="answer"):
        load_questions(str(path))


def test_completions_that_do_not_divide_among_processes():
    config = Config(model="m", questions="q", output_dir="o", prompts_per_step=2, group_size=4,
                    per_device_batch=8)
    assert config.accumulation(1) == 1
    with pytest.raises(UserError, match="3 processes"):
        config.accumulation(3)


@pytest.mark.framework
def test_three_stages_on_a_cpu(tmp_path, byte_model, capsys):
    pytest.importorskip("trl")
    import torch
    from safetensors.torch import load_file

    main = script("recipes/thinkprune/train.py").main

    questions = tmp_path / "q.jsonl"
    questions.write_text("".join(json.dumps(
        {"id": str(i), "question": f"{i}+1?", "answer": str(i + 1)}) + "\n" for i in range(8)))
    settings = yaml.safe_load((RECIPES / "tiny.yaml").read_text()) | {
        "model": str(byte_model), "questions": str(questions), "output_dir": str(tmp_path / "o"),
        "limits": [24, 16, 8], "steps": 2, "prompts_per_step": 2, "group_size": 4,
        "per_device_batch": 4, "save_steps": 1}
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(settings))
    assert main([str(path)]) == 0
    last = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert last == tmp_path / "o" / "stage3-8"
    for number, limit in enumerate((24, 16, 8), start=1):
        report = json.loads((tmp_path / "o" / f"stage{number}-{limit}" / "stage.json").read_text())
        assert report["steps"] == 2 and len(report["history"]) == 2
        assert all(0 < e["mean_length"] <= limit for e in report["history"])

    # a second start repeats nothing; a stage that lost its end goes on from its checkpoint
    weights = load_file(last / "adapter_model.safetensors")
    stamp = (last / "adapter_model.safetensors").stat().st_mtime_ns
    assert main([str(path)]) == 0
    assert (last / "adapter_model.safetensors").stat().st_mtime_ns == stamp
    for said, change in [("other settings .learning_rate", ["learning_rate=0.1"]),
                         ("do not fill a step", ["prompts_per_step=16", "output_dir=x"]),
                         ("/nope", ["model=/nope", f"output_dir={tmp_path / 'n'}"])]:
        assert main([str(path), *change]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert re.search(said, line) and line.startswith("drp: ")
    (last / "stage.json").unlink()
    shutil.rmtree(last / "checkpoint-2")
    assert (last / "checkpoint-1").is_dir()
    assert main([str(path)]) == 0
    again = load_file(last / "adapter_model.safetensors")
    assert all(torch.allclose(weights[k], again[k], atol=1e-6) for k in weights)


def test_bad_adapters_and_strengths_are_one_line(tmp_path):
    scale_adapter = script("recipes/cot_valve/scale.py").scale_adapter

    good, broken, other = tmp_path / "good", tmp_path / "broken", tmp_path / "other"
    for folder, text in [(good, '{"peft_type": "LORA", "lora_alpha": 16}'), (broken, "{"),
                         (other, '{"peft_type": "IA3"}')]:
        folder.mkdir()
        (folder / "adapter_config.json").write_text(text)
    output = tmp_path / "out"
    for adapter, alpha, target, says in [
            (tmp_path / "none", 0.5, output, "holds no adapter"),
            (broken, 0.5, output, "is no adapter's config"), (other, 0.5, output, "not LoRA"),
            (good, 0.5, good, "the adapter that is scaled"),
            *[(good, alpha, output, "not a number over 0")
              for alpha in (0.0, -1.0, float("nan"), float("inf"))]]:
        with pytest.raises(UserError, match=says):
            scale_adapter(adapter, alpha, target)
    assert not output.exists()
    scaled = scale_adapter(good, 0.5, output) / "adapter_config.json"
    assert json.loads(scaled.read_text())["lora_alpha"] == 8
