"""The registry, its spellings, and the page's example of a new method."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest
import yaml
from made_samples import sample

from drp_plugin import methods
from drp_plugin.cli import main
from drp_plugin.thinking import split_response

ROOT = methods.__file__.rpartition("/drp_plugin/")[0]


def page() -> str:
    with open(f"{ROOT}/docs/methods.md", encoding="utf-8") as file:
        return file.read()


def test_the_help_and_the_page_name_every_method(capsys):
    with pytest.raises(SystemExit):
        main(["prune", "--help"])
    shown = capsys.readouterr().out
    for spelling, (_, what) in methods.METHODS.items():
        assert f"{spelling} " in shown and what in shown
        assert f"| `{spelling}` |" in page()


def test_the_pages_example_works(prune, monkeypatch):
    source = re.search(r"```python\n(.*?)```", page(), re.DOTALL)[1]
    line = re.search(r"Its line: `(no-repeats: .*?)`", page())[1]
    assert len(source.splitlines()) <= 40
    module = ModuleType("drp_plugin.methods.no_repeats")
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for name, entry in yaml.safe_load(line).items():
        monkeypatch.setitem(methods.METHODS, name, entry)
    row = sample("r", 0)
    row["response"] = ("<think>\n2 + 3 = 5. Wait, is it? 2 + 3 = 5. So the answer is 5.\n</think>"
                       "\n\n\\boxed{5}")
    (made,) = prune([row], "no-repeats").pruned
    assert split_response(made["response"]).thinking == (
        "2 + 3 = 5. Wait, is it? So the answer is 5.")
    assert made["teacher"] == "no-repeats"


@pytest.mark.parametrize(("spec", "said"), [
    ("random", "It is spelled random:RATIO"), ("random:", "It is spelled random:RATIO"),
    ("entropy", "It is spelled entropy:MODEL[@RATIO]"),
    ("no-thinking:1", "It is spelled no-thinking"),
    ("shortest-corect", "unknown teacher 'shortest-corect'")])
def test_a_misspelled_method_is_one_line_and_leaves_nothing(prune, capsys, spec, said):
    run = prune([sample("a", 1)], spec, code=2)
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not run.folder.exists()


def test_what_means_nothing_to_a_method_is_refused(prune, capsys):
    prune([sample("a", 1)], "random:0.5", "--base-url", "http://localhost:1/v1", code=2)
    assert "random:0.5 uses no server" in capsys.readouterr().err
    prune([sample("a", 1)], "shortest-correct", "--engine-arg", "threads=2", code=2)
    assert "uses no server and no engine" in capsys.readouterr().err


def test_no_method_solves_problems(tmp_path, capsys):
    from drp_plugin import jsonl

    jsonl.write(tmp_path / "q.jsonl", [sample("a", 1)])
    with pytest.raises(SystemExit) as ended:
        main(["distill", str(tmp_path / "q.jsonl"), "-o", str(tmp_path / "d"), "--teacher",
              "random:0.5"])
    assert ended.value.code == 2 and "cannot solve problems" in capsys.readouterr().err
