"""The page of a run: everything in it, nothing alive in it; and edits that come back."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from drp_plugin import jsonl
from drp_plugin.cli import group
from drp_plugin.cli.pages import inspect as command
from drp_plugin.errors import UserError
from drp_plugin.inspection.edits import Decisions, check_edit, read_edits
from drp_plugin.inspection.page import write_page
from drp_plugin.inspection.rows import Statistics, Teachings, rows
from drp_plugin.inspection.serving import decide
from drp_plugin.pruning import PruneOptions
from drp_plugin.records import Action, Pruned, Reason, Reject, Revision, Step, Usage
from drp_plugin.thinking import Unfit
from drp_plugin.tokens import TokenCounter
from drp_plugin.training.sft_set import SetSettings, build

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


def islands(text: str) -> dict[str, Any]:
    """What lies packed in the page: `run`, and the rows in their order."""
    found = dict(re.findall(r'<script type="text/plain" id="([\w-]+)">([\w+/=]+)</script>', text))
    data = {name: json.loads(gzip.decompress(base64.b64decode(body)))
            for name, body in found.items()}
    data["held"] = [data[f"part-{line[-2]}"][line[-1]] for line in data["run"]["rows"]]
    return data


def test_the_page_holds_the_run(run_dir: Path) -> None:
    data = islands(page(run_dir))
    held = data["held"]
    assert [line[1] for line in data["run"]["rows"]] == ["one", "two", EVIL, "bad"]
    assert held[0]["steps"] == [[1, "Hesitating", 0, 5], [2, "Addition", 6, 16]]
    assert held[0]["thinking"][6:16] == "2 + 3 = 5."
    assert held[0]["revisions"] == [["DELETE", [1], None], ["KEEP", [2], None]]
    assert held[2]["question"] == EVIL and held[3]["reply"] == EVIL
    assert held[2]["steps"] == [[1, EVIL, None, EVIL]], "a step without a place has its text"


def test_model_text_is_never_markup(run_dir: Path) -> None:
    text = page(run_dir)
    assert "<script>window" not in text and "<img" not in text and "onerror=alert(1)>" not in text
    assert "\u202e" not in text and "\u2028" not in text
    assert text.count("<script") == len(islands(text))  # `held` stands for the script
    assert re.search("default-src 'none'; .*script-src 'sha256-[^']+'; connect-src 'none'", text)
    assert not re.search("https?:", text), "the page must load nothing"


def test_formulas_are_markup_made_here(tmp_path: Path) -> None:
    """MathML by the formula's source, of every text in which it stands; the rest is text."""
    fine = "So \\(x^2\\) is $\\frac{1}{4}$, $5 and $6 are money, $\\text{<script>}$."
    jsonl.write(tmp_path / "pruned.jsonl", [row("one", question=fine, answer="\\frac{2}{7}")])
    math = islands(page(tmp_path))["held"][0]["math"]
    assert {"\\(x^2\\)", "$\\frac{1}{4}$", "$\\frac{2}{7}$", "\\boxed{5}"} <= set(math)
    assert all(found.startswith("<math") and "<script" not in found for found in math.values())
    assert "$5 and $" not in math


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
    data = islands(page(tmp_path))
    assert len(data["held"]) == 800 and "part-1" in data
    assert len(islands(page(tmp_path, "--limit", "2"))["held"]) == 2


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


def words(text: str) -> int:
    return len(text.split())


def decided(run_dir: Path) -> tuple[list[Pruned], dict[str, str]]:
    """What the edits leave of the run's rows, and why others are left out."""
    decisions, kept, out = Decisions(run_dir, words), [], {}
    for row in jsonl.read(run_dir / "pruned.jsonl", Pruned):
        try:
            kept.append(decisions.of(row))
        except Unfit as unfit:
            out[row.id] = unfit.reason
    for _, name, found in decisions.rescued():
        if isinstance(found, Unfit):
            out[name] = found.reason
        else:
            kept.append(found)
    return kept, out


GOOD = "<think>2 + 3 = 5.</think>It is \\boxed{5}."


def test_edits_flow_back(run_dir: Path) -> None:
    edit(run_dir, {"id": "one", "action": "reject"}, {"id": "two", "action": "reject"},
         {"id": "one", "action": "edit", "response": GOOD}, {"id": EVIL, "action": "accept"})
    before = list(jsonl.read(run_dir / "pruned.jsonl", Pruned))
    after, out = decided(run_dir)
    assert [r.id for r in after] == ["one", EVIL] and out == {"two": "rejected_by_hand"}
    assert after[0].response == "<think>\n2 + 3 = 5.\n</think>\n\nIt is \\boxed{5}."
    assert after[0].tokens_after == 10
    assert after[0].verdict["edited"] == {"ok": True, "how": "edited"}
    assert after[1] == before[2]


@pytest.mark.parametrize(("response", "check"), [
    ("<think>2 + 3 = 5.</think>It is \\boxed{6}.", "answer"),
    ("<think>There are 417 of them. 2 + 3 = 5.</think>It is \\boxed{5}.", "numbers"),
    ("<think>2 + 3 = 5. " + "Okay. " * 30 + "</think>It is \\boxed{5}.", "length"),
    ("<think>2 + 3 = 5, so that the</think>It is \\boxed{5}.", "complete")])
def test_an_edit_is_checked_like_a_teachers_work(run_dir: Path, response: str, check: str) -> None:
    """It is left out with its reason, and goes in, named as such, when a person accepts it."""
    edit(run_dir, {"id": "one", "action": "edit", "response": response})
    assert decided(run_dir)[1] == {"one": "edit_refused"}
    edit(run_dir, {"id": "one", "action": "accept", "response": response})
    after, out = decided(run_dir)
    assert not out and after[0].verdict[check]["reason"] and not after[0].verdict[check]["ok"]
    assert after[0].verdict["edited"] == {"ok": False,
                                          "how": f"edited, accepted in spite of {check}"}


def test_every_check_is_asked(run_dir: Path) -> None:
    row_ = next(jsonl.read(run_dir / "pruned.jsonl", Pruned))
    found = check_edit(row_, "<think>417 and so the</think>\\boxed{6}", PruneOptions(), words)
    assert [n for n, f in found.items() if "reason" in f] == ["complete", "answer", "numbers"]
    off = PruneOptions(check_answer=False, check_complete=False, check_numbers=False)
    assert not [f for f in check_edit(row_, "<think>417 and so the</think>\\boxed{6}", off,
                                      words).values() if "reason" in f]


@pytest.mark.parametrize("response", ["no tags", "<think>\n</think>\n\nIt is 5.",
                                      "<think>a</think>", "<think>a</think>b</think>c"])
def test_no_edit_of_another_shape_is_trained(run_dir: Path, response: str) -> None:
    """Neither edited nor accepted: then the build refuses it as it refuses any such row."""
    for action, reason in (("edit", "edit_refused"), ("accept", "")):
        edit(run_dir, {"id": "one", "action": action, "response": response})
        assert decided(run_dir)[1].get("one", "") == reason
    built = build([run_dir], run_dir / "set", SetSettings(name="s"))
    assert "one" in {d.id for d in built.dropped}


def test_a_reject_is_rescued(run_dir: Path) -> None:
    trace = {"id": "saved", "question": "How many?", "answer": "5", "model": "student",
             "response": "<think>Okay. Well. Hm. 2 + 3 = 5, so 5.</think>\\boxed{5}"}
    jsonl.write(run_dir / "rejects.jsonl", [
        Reject(id="saved", stage="verify", reason=Reason.LONGER, detail="", row=trace),
        Reject(id="other", stage="read", reason=Reason.BAD_ROW, detail="", row={"x": 1})])
    edit(run_dir, {"id": "saved", "action": "edit", "response": GOOD},
         {"id": "other", "action": "edit", "response": GOOD})
    after, out = decided(run_dir)
    assert (after[-1].id, after[-1].model, after[-1].verdict["edited"]["how"]) == (
        "saved", "student", "edited")
    assert (after[-1].tokens_before, after[-1].tokens_after) == (10, 10) and out == {
        "other": "bad_row"}, "what it does not hold cannot be rescued"
    edit(run_dir, {"id": "saved", "action": "accept"})
    with pytest.raises(UserError, match="accepts the reject 'saved' without a response"):
        decided(run_dir)
    edit(run_dir, {"id": "saved", "action": "reject"})
    assert len(decided(run_dir)[0]) == 3


def test_the_built_set_names_its_edits(run_dir: Path, tmp_path: Path) -> None:
    """Provenance and card hold the new counts and how each row was edited."""
    wrong = "<think>2 + 3 = 5.</think>It is \\boxed{6}."
    jsonl.write(run_dir / "pruned.jsonl", [row(name, tokens_before=90) for name in ("one", "two")])
    edit(run_dir, {"id": "one", "action": "edit", "response": GOOD},
         {"id": "two", "action": "accept", "response": wrong})
    (run_dir / "settings.json").write_text('{"tokenizer": "student", "teacher": "openai:x"}')
    built = build([run_dir], tmp_path / "set", SetSettings(name="s"))
    known = {row.value["id"]: row.value for row in jsonl.rows(tmp_path / "set/s.provenance.jsonl")
             if row.value}
    count = TokenCounter.load("student").count
    shaped = GOOD.replace("<think>", "<think>\n").replace("</think>", "\n</think>\n\n")
    assert known["one"]["tokens_after"] == count(shaped) != 15
    assert (known["one"]["edited"], known["two"]["edited"]) == (
        "edited", "edited, accepted in spite of answer")
    assert built.card["edited"]["one"] == f"90 → {count(shaped)} tokens, edited"
    card = (tmp_path / "set/s.md").read_text()
    assert "## Edited by hand" in card and "- two: 90 → " in card
    texts = [r["conversations"][1]["value"] for r in json.loads(built.file.read_text())]
    assert shaped in texts


def test_no_edits_change_nothing(run_dir: Path) -> None:
    before = list(jsonl.read(run_dir / "pruned.jsonl", Pruned))
    assert decided(run_dir) == (before, {}) and read_edits(run_dir) == {}


@pytest.mark.parametrize(("bad", "says"), [
    ({"id": "one", "action": "burn"}, "row 1.*action"), ({"action": "accept"}, "'id' is missing"),
    ({"id": "one", "action": "edit"}, "without a response"),
    ({"id": "gone", "action": "reject"}, "not an editable row of this run")])
def test_bad_edits(run_dir: Path, bad: dict[str, object], says: str) -> None:
    edit(run_dir, bad)
    with pytest.raises(UserError, match=says):
        decided(run_dir)


def test_two_servers_keep_each_others_decisions(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(24)]
    jsonl.write(tmp_path / "pruned.jsonl", map(row, names))
    servers = [Decisions(tmp_path) for _ in range(4)]  # each as a process of its own has it
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(decide, servers[at % 4], {"id": name, "action": "reject"})
                for at, name in enumerate(names)]
    assert [one.result() for one in made] == [{}] * 24
    assert set(read_edits(tmp_path)) == set(names)
    decide(servers[0], {"id": "r1", "action": None})
    decide(servers[1], {"id": "r2", "action": "accept"})
    assert read_edits(tmp_path).keys() == set(names) - {"r1"}
    assert read_edits(tmp_path)["r2"].action == "accept"


@pytest.mark.parametrize("action", ["accept", "reject", "edit"])
def test_a_decision_on_a_row_that_the_run_has_not_is_refused(run_dir: Path, action: str) -> None:
    for name in ("gone", "ne"):  # `one` ends with the latter
        with pytest.raises(UserError, match="no row has the id"):
            decide(Decisions(run_dir), {"id": name, "action": action,
                                        "response": "<think>\na\n</think>\n\n5"})
    assert not (run_dir / "edits.jsonl").exists()


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


def test_show_prints_a_row_and_stats_the_run(run_dir: Path) -> None:
    def said(*arguments: str) -> str:
        result = CliRunner().invoke(group, [*arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    shown = said("show", str(run_dir), "one")
    for text in ("How many?", "1 DELETE Hesitating: Okay.", "2 KEEP Addition: 2 + 3 = 5.",
                 "20 → 15 tokens", "--- cost", "--- the pruned response"):
        assert text in shown, text
    assert "rejected in verify, longer" in said("show", str(run_dir), "bad")
    assert "decided by hand" not in shown
    edit(run_dir, {"id": "one", "action": "accept", "response": "By hand: 5."},
         {"id": "two", "action": "reject"}, {"id": "bad", "action": "accept"})
    for name, text in (("one", "accept\nBy hand: 5."), ("two", "reject\nThis row is left out"),
                       ("bad", "accept\nThis row goes into the set")):
        assert f"--- decided by hand: {text}" in said("show", str(run_dir), name)
    evil = said("show", str(run_dir), EVIL[-9:])
    assert "\u202e" not in evil and "U+202E" in evil
    for wrong in ("nobody", "o"):  # `two` alone ends with the latter
        result = CliRunner().invoke(group, ["show", str(run_dir), wrong])
        assert isinstance(result.exception, UserError) == (wrong == "nobody"), result.output
    assert "pruned" in said("stats", str(run_dir))
    found = json.loads(said("stats", str(run_dir), "--json"))
    assert (found["pruned"], found["rejected"], found["actions"]["KEEP"]) == (3, 1, 2)


def test_messages_of_a_row_come_from_the_ledger(tmp_path: Path) -> None:
    """What the teacher was asked, word for word, and what it said; nothing of a ledger without."""
    trace = {"id": "a", "question": "What are 2 and 3?", "answer": "5", "response":
             "<think>\nOkay, let me see. 2 + 3 = 5.\n\nWait. Yes, 5.\n</think>\n\n\\boxed{5}"}
    jsonl.write(tmp_path / "t.jsonl", [trace])
    folder = tmp_path / "run"
    done = CliRunner().invoke(group, ["prune", str(tmp_path / "t.jsonl"), "-o", str(folder),
                                      "--teacher", "offline", "--tokenizer", "student"])
    assert done.exit_code == 0, done.output
    (row_,) = [r for r in rows(folder)]
    with Teachings(folder) as teachings:
        asked = teachings.of(row_)
        assert not teachings.of(row_.model_copy(update={"usage": Usage()}))
    assert len(asked) == row_.usage.requests == len(row_.usage.keys) > 1
    assert asked[0]["tag"] == "decompose" and "2 + 3 = 5." in asked[0]["messages"][0][1]
    assert sum(said["completion_tokens"] for said in asked) == row_.usage.completion_tokens
    shown = CliRunner().invoke(group, ["show", str(folder), "a", "--messages"]).stdout
    assert asked[0]["text"].strip().splitlines()[0] in shown
    assert "keys" not in json.loads((folder / "summary.json").read_text())
    (folder / "ledger.sqlite").unlink()
    with Teachings(folder) as teachings:
        assert teachings.of(row_) == []


def test_a_longer_row_has_a_plus(run_dir: Path) -> None:
    """A method that only reshapes an answer may add the tokens of a tag."""
    jsonl.write(run_dir / "pruned.jsonl", [row("one", tokens_before=20, tokens_after=21)])
    assert "20 → 21 tokens (+5.0 %)" in page(run_dir)
    shown = CliRunner().invoke(group, ["show", str(run_dir), "one"])
    assert "20 → 21 tokens (+5.0 %)" in shown.output
    jsonl.write(run_dir / "pruned.jsonl", [row("one")])
    assert "20 → 15 tokens (−25.0 %)" in page(run_dir)


@pytest.mark.parametrize(("tokens", "median", "shows"), [
    ([(0, 44)], None, "44 tokens\n"), ([(0, 44), (20, 10), (20, 30)], 1.0, "44 tokens\n"),
    ([(20, 10), (0, 1), (0, 1)], 0.5, "20 → 10 tokens (−50.0 %)")])
def test_a_row_of_no_trace_has_no_share_of_it(run_dir: Path, tokens: list[tuple[int, int]],
                                              median: float | None, shows: str) -> None:
    """`drp distill` answers questions: there is nothing that could have become shorter."""
    made = [row(f"r{n}", tokens_before=before, tokens_after=after, **(
        {} if before else {"original": "", "steps": (), "revisions": ()}))
        for n, (before, after) in enumerate(tokens)]
    jsonl.write(run_dir / "pruned.jsonl", made)
    found = Statistics()
    for value in made:
        found.add(value)
    assert found.median("ratio") == median
    assert ("median share kept" in page(run_dir)) == (median is not None)
    shown = CliRunner().invoke(group, ["show", str(run_dir), "r0"]).output
    assert shows in shown and "0 →" not in shown.replace("20 →", "")
    assert ("student's own response" in shown) == (tokens[0][0] > 0)
