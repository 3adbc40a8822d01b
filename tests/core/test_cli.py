import json
import re
import shlex
import subprocess
import sys
import time

import click
import pytest

from drp_plugin import cli
from drp_plugin.cli import COMMANDS, group
from drp_plugin.errors import install
from drp_plugin.resources import table


def drp(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "drp_plugin", *arguments], capture_output=True,
                          text=True, timeout=600, **options)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples(name):
    done = drp(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout


@pytest.mark.parametrize("arguments", [["nosuch"], ["--nosuch"], ["prune", "--nosuch"], ["prune"]])
def test_wrong_words_are_one_line_and_exit_2(arguments):
    done = drp(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_the_core_imports_nothing_heavy():
    code = (
        "import sys, click, drp_plugin.cli as c\n"
        "for n in c.COMMANDS: c.group.get_command(click.Context(c.group), n)\n"
        "heavy = {'torch', 'transformers', 'vllm', 'llamafactory', 'lmms_eval', 'trl', 'ray',"
        " 'matplotlib', 'datasets', 'openai', 'google.genai', 'sympy'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_needs_no_command_module():
    code = (
        "import sys, click\n"
        "from drp_plugin.cli import group\n"
        "group.get_help(click.Context(group))\n"
        "sys.exit(any(m.startswith('drp_plugin.cli.') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == 0


def test_a_reader_that_stops_reading_is_no_error():
    done = subprocess.run(f"{sys.executable} -m drp_plugin --help | head -1", shell=True,
                          capture_output=True, text=True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("platform", ["win32", "cygwin", "emscripten"])
@pytest.mark.parametrize("arguments", [[], ["--help"], ["demo"], ["prune", "x", "-o", "y"]])
def test_other_systems_are_told_so_in_one_line(platform, arguments):
    code = (
        "import sys, os, click\n"
        "sys.modules['fcntl'] = sys.modules['resource'] = None; del os.register_at_fork\n"
        f"sys.platform = {platform!r}; sys.argv = ['drp', *{arguments!r}]\n"
        "from drp_plugin.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line == (f"drp: runs on Linux and macOS, not on {platform}. On Windows, install it in "
                    "WSL")


@pytest.mark.parametrize(("module", "extra"), [
    ("torch", "eval"), ("vllm.sampling_params", "vllm"), ("matplotlib.pyplot", "report")])
def test_a_missing_extra_is_named(module, extra, monkeypatch, capsys):
    def fail(*args, **options):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(cli.group, "main", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"drp: this needs {module.split('.')[0]}, which is not installed. "
        f"{install(extra)}\n")


@pytest.mark.parametrize(("noted", "command"), [
    (None, "pip install 'drp-plugin[eval]'"),
    ("{", "pip install 'drp-plugin[eval]'"),
    ('{"url": "https://host/drp.whl", "archive_info": {}}', "pip install 'drp-plugin[eval]'"),
    ('{"url": "file:///a/clone", "dir_info": {}}', "pip install '/a/clone[eval]'"),
    ('{"url": "file:///a/clone", "dir_info": {"editable": true}}',
     "pip install -e '/a/clone[eval]'"),
    ('{"url": "file:///a%20b/it%27s", "dir_info": {}}', "pip install '/a b/it'\"'\"'s[eval]'"),
    ('{"url": "file:///a/drp_plugin-1-py3-none-any.whl", "archive_info": {}}',
     "pip install '/a/drp_plugin-1-py3-none-any.whl[eval]'")])
def test_an_extra_comes_from_where_the_package_came_from(noted, command, monkeypatch):
    """In no index is there a package of this name."""
    class Known:
        def read_text(self, name):
            return noted if name == "direct_url.json" else None

    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Known())
    assert install("eval") == command


def test_a_module_that_no_extra_brings_is_a_defect_and_shows_itself(monkeypatch):
    def fail(*args, **options):
        raise ModuleNotFoundError("No module named 'x'", name="drp_plugin.x")

    monkeypatch.setattr(cli.group, "main", fail)
    with pytest.raises(ModuleNotFoundError):
        cli.main([])


def test_what_the_system_refuses_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "c.jsonl").write_text(
        r'{"question": "1+1?", "response": "<think>\n2\n</think>\n\n2"}')
    for arguments in (["init", str(tmp_path / "file" / "work")],
                      ["build", str(tmp_path / "c.jsonl"), "-o", str(tmp_path / "file"),
                       "--name", "x"]):
        done = drp(*arguments)
        (line,) = done.stderr.strip().splitlines()[-1:]
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert line.startswith("drp: ") and str(tmp_path) in line


@pytest.mark.parametrize("arguments", [
    ["prune", "t.jsonl", "-o", "run", "--teacher", "offline", "--max-cost", "nan"],
    ["prune", "t.jsonl", "-o", "run", "--teacher", "offline", "--timeout", "inf"],
    ["prune", "t.jsonl", "-o", "run", "--teacher", "offline", "--top-p", "nan"],
    ["prune", "t.jsonl", "-o", "run", "--teacher", "offline", "--temperature", "nan"],
    ["prune", "t.jsonl", "-o", "run", "--teacher", "offline", "--min-coverage", "nan"],
    ["generate", "tiny:train", "-o", "t.jsonl", "--temperature", "inf"],
    ["check", "train.yaml", "--max-cut", "nan"],
    ["serve-teacher", "--delay", "nan"]])
def test_a_number_that_is_none_is_refused(arguments, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    line = capsys.readouterr().err.strip()
    assert arguments[-1] in line and len(line.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_is_nearly_one_is_suggested():
    assert drp("prun", "x").stderr.strip() == (
        "drp: No such command 'prun'. Did you mean 'prune'? (see drp --help)")
    assert "mean" not in drp("xyzzy").stderr


def test_commands_say_what_they_begin_and_what_comes_next(tmp_path):
    row = {"question": "1+1?", "response": "<think>\nIt is 2.\n</think>\n\n2", "answer": "2"}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    arguments = ["build", str(tmp_path / "t.jsonl"), "-o", str(tmp_path / "set"), "--name", "x"]
    lines = drp(*arguments).stderr.splitlines()
    assert lines[-1] == (f"next: drp check CONFIG.yaml dataset_dir={tmp_path / 'set'} dataset=x "
                         "(drp init writes the YAMLs)")
    assert "next:" not in drp(*arguments, "--size", "0").stderr, "nothing was done"
    result = json.loads(drp("score", str(tmp_path / "t.jsonl"), "--tokenizer", "student").stdout)
    assert result["correct"], "standard output holds results alone"


def test_a_command_that_takes_long_says_what_it_does(capsys):
    def slow(**_):
        while "drp: checking c.yaml" not in (said := capsys.readouterr().err):
            time.sleep(0.01)
        print(said, file=sys.stderr)

    cli._saying("checking {config}", "train {config}", slow)(config="c.yaml")
    said = capsys.readouterr().err.split("\n")
    assert [line for line in said if line] == ["drp: checking c.yaml", "next: train c.yaml"]


def test_each_line_names_what_its_command_has():
    """The words in data/next.yaml are options and arguments of that command."""
    for name, said in cli._SAID.items():
        command = cli.group.get_command(click.Context(cli.group), name)
        given = {parameter.name: "" for parameter in command.params}
        for line in said:
            line.format_map(given)
    assert set(cli._SAID) | {"init", "serve-teacher"} >= set(COMMANDS)


def test_every_option_has_its_line_of_help_and_every_line_an_option() -> None:
    texts, used = table("help/options.yaml"), set()
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        for option in (p for p in command.params if isinstance(p, click.Option)):
            assert option.help, (name, option.name)
            used |= {(place, option.name) for place in ("shared", name)}
    assert {(place, option) for place in texts for option in texts[place]} <= used


def _examples(name: str) -> list[str]:
    """The commands that a page of help shows."""
    text = re.sub(r"\s*\\\n\s*", " ", cli.page(name))
    found = re.findall(r"^  (?:zcat \S+ \| |cd \S+ && )?(drp .*)$", text, re.MULTILINE)
    return [re.split(r"\s{2,}(?=\S*[a-z]+ )|\s[|&]", line)[0] for line in found]


@pytest.mark.parametrize("line", [line for name in ("drp", *COMMANDS) for line in _examples(name)])
def test_examples_of_the_help_are_commands_with_these_options(line: str) -> None:
    _, name, *words = shlex.split(line)
    group.get_command(click.Context(group), name).make_context(name, words)


def test_examples_are_found() -> None:
    assert all(_examples(name) for name in ("drp", *COMMANDS))
    assert _examples("check")[2].endswith("--quiet") and "--ratio" in _examples("build")[1]


@pytest.mark.parametrize(("arguments", "said"), [
    (["build", "x", "-o", "y", "--name", "z", "--size", "0"], "0 is not in the range x>=1"),
    (["generate", "x", "-o", "y", "--top-p", "2"], "2.0 is not in the range 0<x<=1"),
    (["prune", "x", "-o", "y", "--teacher", "offline", "--max-cost", "0"], "range x>0")])
def test_a_number_out_of_its_range_is_told_the_range(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_the_help_shows_no_bound_that_nobody_reaches():
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        shown = command.get_help(click.Context(command, info_name=name, max_content_width=200))
        assert "RANGE" not in shown and "000000" not in shown and "807" not in shown, name


def test_the_commands_defaults_are_those_of_the_library() -> None:
    """They stand in data/options.yaml, and are the same as those of the functions."""
    from drp_plugin.cli.pages import MESSAGES_UP_TO
    from drp_plugin.pruning import PruneOptions
    from drp_plugin.resources import table
    from drp_plugin.scoring import DEFAULT_CUTOFF
    from drp_plugin.tokens import QWEN
    from drp_plugin.training.sft_set import SetSettings

    def defaults(name: str) -> dict[str, object]:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        return {str(o.name): o.default for o in command.params if not o.required}

    assert defaults("score")["cutoff"] == DEFAULT_CUTOFF
    assert defaults("score")["tokenizer"] == defaults("prune")["tokenizer"] == QWEN
    assert f"{MESSAGES_UP_TO:,}" in table("help/options.yaml")["inspect"]["messages"]
    for name, fields in (("prune", PruneOptions.model_fields),
                         ("build", SetSettings.__dataclass_fields__)):
        shared = {key: value for key, value in defaults(name).items() if key in fields}
        assert len(shared) > 5
        for key, value in shared.items():
            assert not isinstance(value, str | int | float) or value == fields[key].default, key
