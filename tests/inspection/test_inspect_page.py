"""The page of a run: everything in it, nothing alive in it; and edits that come back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from drp_plugin import jsonl
from drp_plugin.cli.inspect import command
from drp_plugin.errors import UserError
from drp_plugin.inspection.edits import Decisions, read_edits
from drp_plugin.inspection.page import rows, write_page
from drp_plugin.inspection.run_statistics import Statistics
from drp_plugin.records import Action, Pruned, Reason, Reject, Revision, Step

EVIL = ("</script><script>window.HACKED=1</script><img src=x onerror=alert(1)> <!-- "
        "\u202etxt.exe \u2028 & \"'")


def row(name: str, **more: object) -> Pruned:
    values: dict[str, object] = dict(
        id=name, question="How many?", answer="5", model="student",
        original="<think>\nOkay. 2 + 3 = 5.\n</think>\n\n\\boxed{5}",
        steps=(Step(index=1, text="Okay.", skill="Hesitating", start=0, end=5),
               Step(index=2, text="2 + 3 = 5.", skill="Addition", start=6, end=16)),
        revisions=(Revision(action=Action.DELETE, steps=(1,)),
                   Revision(action=Action.KEEP, steps=(2,))),
        response="<think>\n2 + 3 = 5.\n</think>\n\n\\boxed{5}", tokens_before=20, tokens_after=15,
        coverage=1.0, teacher="offline:rules", prompts_hash="0")
    return Pruned(**{**values, **more})  # type: ignore[arg-type]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    jsonl.write(folder / "pruned.jsonl", [
        row("one"), row("two", tokens_after=5), row(EVIL, question=EVIL, response=f"<think>\n{EVIL}"
            f"\n</think>\n\n{EVIL}", steps=(Step(index=1, text=EVIL, skill=EVIL),), revisions=())])
    jsonl.write(folder / "rejects.jsonl", [Reject(id="bad", stage="verify", reason=Reason.LONGER,
                                                  detail=EVIL, reply=EVIL, row={"response": EVIL})])
    return folder


def page(run_dir: Path, *more: str) -> str:
    target = run_dir / "page.html"
    result = CliRunner().invoke(command, [str(run_dir), "-o", str(target), *more])
    assert result.exit_code == 0, result.output
    return target.read_text()


def islands(text: str) -> dict[str, object]:
    found = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text, re.S)
    return {name: json.loads(body) for name, body in found}


def test_the_page_holds_the_run(run_dir: Path) -> None:
    data = islands(page(run_dir))
    assert len(data["index"]) == 4  # type: ignore[arg-type]
    assert data["row-0"]["steps"] == [[1, "Hesitating", "Okay."], [2, "Addition", "2 + 3 = 5."]]  # type: ignore[index]
    assert data["row-0"]["revisions"] == [["DELETE", [1], None], ["KEEP", [2], None]]  # type: ignore[index]
    assert data["row-2"]["question"] == EVIL and data["row-3"]["reply"] == EVIL  # type: ignore[index]


def test_model_text_is_never_markup(run_dir: Path) -> None:
    text = page(run_dir)
    assert "<script>window" not in text and "<img" not in text and "onerror=alert(1)>" not in text
    assert "\u202e" not in text and "\u2028" not in text
    assert text.count("<script") == len(islands(text)) + 1
    assert "http" not in re.sub(r'http-equiv', "", text), "the page must load nothing"


def test_statistics(run_dir: Path) -> None:
    found = Statistics()
    for value in rows(run_dir):
        found.add(value)
    assert (found.pruned, found.before, found.after) == (3, 60, 35)
    assert found.reduction == pytest.approx(25 / 60)
    assert found.actions == {"DELETE": 2, "KEEP": 2, "(none)": 1}
    assert found.deleted["Hesitating"] == 2 and found.rejected == {"verify: longer": 1}
    assert sum(found.histogram()) == 3 and found.histogram()[7] == 2
    assert "41.7%" in page(run_dir) and "verify: longer" in page(run_dir)


def test_a_run_that_was_stopped_says_so(run_dir: Path) -> None:
    def line() -> str:
        return CliRunner().invoke(command, [str(run_dir)]).output

    assert "not reached" not in line() and "not reached" not in page(run_dir)
    (run_dir / "summary.json").write_text('{"complete": false, "not_reached": 25}')
    assert "3 pruned and 1 rejected rows; 25 more were not reached" in line()
    assert "not reached</dt><dd>25<" in page(run_dir)
    (run_dir / "summary.json").write_text("{")
    assert "not reached" not in line()


def test_a_long_line_and_many_rows(tmp_path: Path) -> None:
    jsonl.write(tmp_path / "pruned.jsonl", [
        row(f"r{i}", question="x" * (1_000_000 if i == 0 else 10)) for i in range(800)])
    text = page(tmp_path)
    assert len(islands(text)["index"]) == 800  # type: ignore[arg-type]
    few = islands(page(tmp_path, "--limit", "2"))
    assert len(few["index"]) == 2 and "row-2" not in few  # type: ignore[arg-type]


def test_the_users_mistakes(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        result = CliRunner().invoke(command, [str(folder), "-o", str(tmp_path / "new" / "p.html")])
        assert isinstance(result.exception, UserError), result.output
    assert not (tmp_path / "new").exists()
    (tmp_path / "pruned.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(UserError, match="row 1"):
        list(rows(tmp_path))


def edit(run_dir: Path, *edits: dict[str, object]) -> None:
    jsonl.write(run_dir / "edits.jsonl", edits)


def decided(run_dir: Path, *count: Callable[[str], int]) -> list[Pruned]:
    """What the edits leave of the run's rows."""
    decisions = Decisions(run_dir, *count)
    rows = [decisions.of(row) for row in jsonl.read(run_dir / "pruned.jsonl", Pruned)]
    decisions.finish()
    return [row for row in rows if row is not None]


def test_edits_flow_back(run_dir: Path) -> None:
    new = "<think>Two and three.</think>It is \\boxed{5}."
    edit(run_dir, {"id": "one", "action": "reject"}, {"id": "two", "action": "reject"},
         {"id": "one", "action": "edit", "response": new}, {"id": EVIL, "action": "accept"})
    before = list(jsonl.read(run_dir / "pruned.jsonl", Pruned))
    after = decided(run_dir, lambda text: len(text.split()))
    assert [r.id for r in after] == ["one", EVIL]
    assert after[0].response == "<think>\nTwo and three.\n</think>\n\nIt is \\boxed{5}."
    assert after[0].tokens_after == 8 and after[0].verdict["edited"] == {"ok": True}
    assert after[1] == before[2]
    assert '"action":"edit"' in page(run_dir)


def test_no_edits_change_nothing(run_dir: Path) -> None:
    before = list(jsonl.read(run_dir / "pruned.jsonl", Pruned))
    assert decided(run_dir) == before and read_edits(run_dir) == {}


@pytest.mark.parametrize(("bad", "says"), [
    ({"id": "one", "action": "burn"}, "row 1.*action"), ({"action": "accept"}, "'id' is missing"),
    ({"id": "one", "action": "edit"}, "without a response"),
    ({"id": "one", "action": "edit", "response": "no tags"}, "not <think>"),
    ({"id": "gone", "action": "reject"}, "no pruned row")])
def test_bad_edits(run_dir: Path, bad: dict[str, object], says: str) -> None:
    edit(run_dir, bad)
    with pytest.raises(UserError, match=says):
        decided(run_dir)


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_script_parses(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "drp_plugin" / "inspection" / "page.js"
    done = subprocess.run(["node", "--check", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_standard_output(run_dir: Path) -> None:
    import io

    file = io.StringIO()
    write_page(run_dir, file)
    assert file.getvalue().startswith("<!doctype html>")
    assert file.getvalue().rstrip().endswith("</html>")
