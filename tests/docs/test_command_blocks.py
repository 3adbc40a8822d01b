"""Every command of README and docs does what the page says, or says why it is not tried."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from blocks import OTHER, PAGES, REASONS, Block, blocks, every_block, passed_over
from checkout import ROOT
from worlds import KEY, Loopback, world

from drp_plugin.experiment.file import Experiment, read_experiment

pytestmark = pytest.mark.timeout(3600)  # a page is many commands, and machines are busy

Shell = Callable[[Path, Block], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def provider() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, provider: Loopback) -> Shell:
    """Runs a block as a user's shell does: this checkout's `drp`, and no way out of the machine."""
    commands = tmp_path_factory.mktemp("bin")
    for name, module in (("drp", ROOT / "tests/docs/drp_beside_loopback.py"), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        (commands / name).chmod(0o755)
    kept = {k: v for k, v in os.environ.items()
            if k in ("HOME", "LANG", "TMPDIR", "DRP_QWEN_TOKENIZER", "XDG_CACHE_HOME")}

    def run(folder: Path, block: Block) -> subprocess.CompletedProcess[str]:
        text = block.text.replace("http://localhost:8000/v1", provider.url)
        env = {**kept, "PATH": f"{commands}:{Path(sys.executable).parent}:/usr/bin:/bin",
               "PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1",
               "OPENAI_API_KEY": KEY, "GEMINI_API_KEY": KEY, "OPENAI_BASE_URL": provider.url,
               "GOOGLE_GEMINI_BASE_URL": provider.gemini_url, "LOOPBACK": "1",
               "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "100"}
        return subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=env,
                              capture_output=True, text=True, check=False)

    return run


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    assert not passed_over(page), "commands belong into ```bash blocks, which are run"
    for block in every_block(page):
        if (why := block.why_not) is not None:
            tests = re.findall(r"tests/[\w/.]+", why)
            assert why in OTHER or why in REASONS or (
                tests and all((ROOT / name.rstrip("/.")).exists() for name in tests)), (
                f"{page.name}:{block.line}: {why!r} is no reason")


@pytest.mark.parametrize("hidden", [
    "~~~bash\ndrp a\n~~~", "1. First:\n\n   ```bash\n   drp a\n   ```", "````bash\ndrp a\n````",
    "> ```bash\n> drp a\n> ```", "```bash\ndrp a\n``` ", "```bash\ndrp a"])
def test_every_bash_block_is_found(hidden: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n<!-- not run: needs a key -->\n```bash\ndrp b\n```\n\n{hidden}\n")
    assert [(b.text.strip(), b.why_not) for b in blocks(page, "bash")] == [
        ("drp b", "needs a key"), ("drp a", None)]
    assert not passed_over(page)


@pytest.mark.parametrize("hidden", [
    "```sh\ndrp a\n```", "```console\n$ drp a\n```", "```Bash\ndrp a\n```", "```\ndrp a\n```",
    "```bash title\ndrp a\n```", "    drp a", "* First:\n\n      drp a", "<pre>drp a</pre>",
    "<div><code>drp a</code></div>", "```yaml\n$ drp a\n```"])
def test_no_command_is_passed_over(hidden: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\nText.\n\n{hidden}\n")
    assert len(passed_over(page)) == 1


def test_a_reason_stands_right_before_its_block(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs a key -->\n\n```bash\ndrp a\n```\n")
    with pytest.raises(ValueError, match="no block follows"):
        blocks(page, "bash")


RUN = [page for page in PAGES if any(b.why_not is None for b in blocks(page, "bash"))]


@pytest.mark.parametrize("page", RUN, ids=lambda p: p.name)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path, shell: Shell) -> None:
    world(tmp_path)
    for block in blocks(page, "bash"):
        if block.why_not is None:
            done = shell(tmp_path, block)
            assert done.returncode == 0 and "Traceback" not in done.stderr, (
                f"{page.name}:{block.line}\n{block.text}\n{done.stdout[-1500:]}\n"
                f"{done.stderr[-3000:]}")
    if page.name == "README.md":
        _the_newcomers_set(tmp_path)


def _the_newcomers_set(folder: Path) -> None:
    """What a reader of the README has in hand: their own thirty rows, one of them edited."""
    data = folder / "mine-data"
    rows = json.loads((data / "mine.json").read_text())
    assert len(rows) == 10
    edited = [row["conversations"][1]["value"] for row in rows
              if "Tom has 16 apples" in row["conversations"][0]["value"]]
    assert edited == ["<think>\n16 + 10 = 26.\n</think>\n\nThey have \\boxed{26} apples."]
    known = [json.loads(line) for line in (data / "mine.provenance.jsonl").read_text().splitlines()]
    assert [row["id"] for row in known if "edited" in row] == ["q3"]
    assert "edited" in (data / "mine.md").read_text()
    for run in ("parquet-run", "api-run"):
        assert json.loads((folder / run / "summary.json").read_text())["rows"] == 10
    assert len(json.loads((data / "all_mine.json").read_text())) >= 10
    page = (folder / "mine.html").read_text()
    assert "<script" in page and len(page) > 10_000


PYTHON = [page for page in PAGES if page.name not in ("methods.md",) and blocks(page, "python")]


@pytest.mark.parametrize("page", PYTHON, ids=lambda p: p.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                   ) -> None:
    world(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        if block.why_not is None:
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), names)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=named)
def test_the_yaml_of_a_page_belongs_to_an_experiment(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(page, "yaml")):
        given = yaml.safe_load(textwrap.dedent(block.text))
        if not given.keys() & Experiment.model_fields.keys():
            given = {"methods": given}
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump({"base": "paper_tiny", **given}))
        made = read_experiment(file)
        assert {key: made.model_dump(mode="json")[key] for key in given if key != "methods"} or \
            given["methods"].keys() <= made.methods.keys()


def test_the_picture_is_what_its_script_draws() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts/method_figure.py"), "--check"],
                          check=False)
    assert done.returncode == 0, "run scripts/method_figure.py"


def test_every_picture_is_shown() -> None:
    shown = {Path(name).name for page in PAGES
             for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text("utf-8"))}
    assert {file.name for file in (ROOT / "docs/images").iterdir()} == shown


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)\s#]+)", page.read_text("utf-8")):
            # by scripts/docs_site.py
            made = {"commands.md", "changelog.md", "contributing.md", "security.md"}
            assert (page.parent / target).exists() or target in made, f"{page.name}: {target}"


