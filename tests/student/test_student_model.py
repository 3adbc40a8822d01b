"""The shipped student: its files, its tokenizer, its template, and that it can solve problems."""

import subprocess
import sys
import types
from importlib.machinery import ModuleSpec

import pytest

from drp_plugin.student import model_path
from drp_plugin.student.problems import questions

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from checkout import script  # noqa: E402

evaluate = script("scripts/student/evaluate.py")
SPECIAL = script("scripts/student/vocabulary.py").SPECIAL

TEXTS = (
    "plain words, 1234 numbers",
    "\\[ \\frac{3}{4} \\times \\sqrt{2} = \\boxed{\\text{yes}} \\]",
    "naïve café 東京 🙂 e\u0301 ﬁ \u00a0 \u200b",
    "a  b   c\t\td\n\n\ne \r\n f ",
    "  leading, trailing  ",
    "<think>\nSo 48 + 24 = 72.\n</think>\n\n**Answer:** \\boxed{72}",
    bytes(range(256)).decode("latin-1"),
)


@pytest.fixture(scope="module")
def student():
    return (transformers.AutoTokenizer.from_pretrained(model_path()),
            transformers.AutoModelForCausalLM.from_pretrained(model_path()).eval())


def test_the_package_says_where_it_is_without_importing_torch():
    code = (
        "import sys; from drp_plugin.student import model_path; assert model_path().is_dir();"
        "import drp_plugin.student.problems;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_files_are_there_and_small():
    names = {path.name for path in model_path().iterdir()}
    assert {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    } <= names
    assert (model_path() / "model.safetensors").stat().st_size < 4 * 2**20
    assert sum(path.stat().st_size for path in model_path().rglob("*")) < 5 * 2**20
    assert "toy" in (model_path() / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back_unchanged(student, text):
    tokenizer, _ = student
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text


def test_tokens_are_those_of_r1(student):
    tokenizer, model = student
    assert tokenizer.is_fast
    assert 600 <= len(tokenizer) <= 1000 == model.config.vocab_size
    assert tokenizer.tokenize("1234") == ["1", "2", "3", "4"]
    for token in SPECIAL:
        assert len(tokenizer.encode(token, add_special_tokens=False)) == 1
    assert tokenizer.encode("So")[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token == tokenizer.pad_token == "<｜end▁of▁sentence｜>"
    tags = tokenizer.encode("<think>a</think>")
    assert tokenizer.decode(tags, skip_special_tokens=True) == "<think>a</think>"
    assert len(tokenizer.tokenize("Wait, let me double-check the answer.")) <= 12


def test_the_prompt_begins_the_thinking(student):
    tokenizer, _ = student
    turns = [{"role": "user", "content": "How many?"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    expected = "<｜begin▁of▁sentence｜><｜User｜>How many?<｜Assistant｜><think>\n"
    assert text == expected
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True)
    assert ids == tokenizer.encode(expected, add_special_tokens=False)


def _llamafactory_template():
    try:
        import torchaudio  # noqa: F401
    except ImportError:
        pass
    except OSError:  # beside a CPU torch its libraries do not load; only its name is needed
        stub = types.ModuleType("torchaudio")
        stub.__spec__ = ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = stub
    pytest.importorskip("llamafactory")
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    return get_template_and_fix_tokenizer, DataArguments(template="deepseekr1")


def test_llamafactory_encodes_the_prompt_in_the_same_way(student):
    fix, arguments = _llamafactory_template()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_path())
    template = fix(tokenizer, arguments)
    row = questions("sft", "steps2", 1)[0]
    response = "<think>\nSo 2 + 3 = 5.\n</think>\n\n\\boxed{5}"
    turns = [
        {"role": "user", "content": row["question"]},
        {"role": "assistant", "content": response},
    ]
    prompt, target = template.encode_oneturn(tokenizer, turns)
    inference = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True)
    assert (prompt + target)[: len(inference)] == inference
    assert tokenizer.decode(target) == response + tokenizer.eos_token


def test_the_student_solves_unseen_problems():
    rows = {(row["level"], row["decoding"]): row for row in evaluate.evaluate(model_path(), 16)}
    assert len(rows) == 8
    for row in rows.values():
        assert row["accuracy"] >= 0.7, row
        assert row["tokens"] > 150 and 0.5 < row["think_tokens"] / row["tokens"] < 1
    assert rows["ood", "sampled"]["tokens"] > rows["steps2", "sampled"]["tokens"]
