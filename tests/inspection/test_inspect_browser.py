"""The page of a run in a real Chromium, from a file and from `drp inspect --serve`."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import script
from click.testing import CliRunner

from drp_plugin import jsonl
from drp_plugin.cli import group
from drp_plugin.inspection.edits import read_edits
from drp_plugin.inspection.page import write_page
from drp_plugin.inspection.serving import server
from drp_plugin.records import Pruned

browsing, toy = script("scripts/chromium.py"), script("scripts/toy_run.py")
EVIL = "</script><img src=x onerror=\"document.title='owned'\"> \u202ekcab <b>$\\text{<i>}$</b>"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the offline teacher, with formulas, rejects, a ledger and a hostile row."""
    folder = tmp_path_factory.mktemp("inspected")
    rows = [*toy.traces(12), {"id": EVIL, "question": EVIL, "answer": "5", "response":
            f"<think>\nOkay. {EVIL} Two and three are 5.\n</think>\n\nIt is 5."}]
    jsonl.write(folder / "traces.jsonl", rows)
    result = CliRunner().invoke(group, [
        "prune", str(folder / "traces.jsonl"), "-o", str(folder / "run"), "--teacher", "offline",
        "--tokenizer", "student"])
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture
def run_dir(made: Path) -> Iterator[Path]:
    yield made
    (made / "edits.jsonl").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    if browsing.browser() is None:
        pytest.skip("no Chromium here")
    with browsing.chromium() as opened:
        yield opened


def written(run_dir: Path) -> str:
    with (run_dir / "inspect.html").open("w", encoding="utf-8") as file:
        write_page(run_dir, file)
    return (run_dir / "inspect.html").as_uri()


def opened(page: Any, url: str, **more: Any) -> None:
    page.complaints.clear()
    page.open(url, **more)
    page.wait("document.body.dataset.ready")


def row(page: Any, end: str) -> None:
    """Open the row whose id ends so, from the list."""
    page.do(f"[...document.querySelectorAll('#list b')].find(b => b.title.endsWith("
            f"{json.dumps(end)})).closest('button').click()")
    page.wait("document.body.dataset.view === 'row' && document.querySelector('.id').textContent"
              f".endsWith({json.dumps(end)})")


def chosen(page: Any, control: str, value: str) -> int:
    """Set a control; how many rows are listed then."""
    before = page.do("document.body.dataset.turn")
    event = "input" if control == "search" else "change"
    page.do(f"$('{control}').value = {json.dumps(value)}; "
            f"$('{control}').dispatchEvent(new Event('{event}'))")
    page.wait(f"document.body.dataset.turn !== '{before}'")
    found: int = page.do("document.querySelectorAll('#list button').length")
    return found


def first(run_dir: Path) -> Pruned:
    return next(jsonl.read(run_dir / "pruned.jsonl", Pruned))


def test_filters_search_and_rows(run_dir: Path, page: Any) -> None:
    opened(page, written(run_dir))
    rows = [*jsonl.read(run_dir / "pruned.jsonl", Pruned)]
    assert page.do("document.querySelectorAll('#list button').length") == 13
    assert chosen(page, "state", "r") == 13 - len(rows) > 0
    assert page.do("document.querySelector('#list em').textContent") == "wrong_answer"
    assert chosen(page, "state", "p") == len(rows)
    for control, matching in (
            ("dataset", lambda r: r.dataset == "toy_algebra"),
            ("action", lambda r: any(v.action.value == "COMPRESS" for v in r.revisions)),
            ("skill", lambda r: any(s.skill == "Hesitating" for s in r.steps))):
        value = {"dataset": "toy_algebra", "action": "COMPRESS", "skill": "Hesitating"}[control]
        assert 0 < chosen(page, control, value) == sum(map(matching, rows)), control
        assert chosen(page, control, "") == len(rows)
    low = [r for r in rows if .5 <= 1 - r.tokens_after / r.tokens_before < .7]
    assert chosen(page, "reduction", "0.5 0.7") == len(low)
    chosen(page, "reduction", "")
    # words of a trace's middle, in no question and no id
    assert 0 < chosen(page, "search", "BY VIETA") == sum("By Vieta" in r.original for r in rows)
    row(page, next(r.id for r in rows if "By Vieta" in r.original))
    assert page.do("CSS.highlights.get('found').size") > 0
    assert chosen(page, "search", "no such words") == 0
    assert not page.complaints


def test_a_row_shows_formulas_differences_checks_and_teacher(run_dir: Path, page: Any) -> None:
    opened(page, written(run_dir))
    found = next(r for r in jsonl.read(run_dir / "pruned.jsonl", Pruned)
                 if "frac" in r.original and any(v.action.value == "COMPRESS" for v in r.revisions))
    row(page, found.id)
    seen = page.do("""({math: document.querySelectorAll('#row math').length,
        tall: document.querySelector('#row math mfrac').getBoundingClientRect().height,
        gone: document.querySelectorAll('#row del').length,
        steps: document.querySelectorAll('.step').length,
        checks: document.querySelectorAll('.checks .good').length,
        meta: document.querySelector('.meta').textContent,
        name: document.querySelector('#list [aria-current] b').textContent})""")
    assert seen["math"] > 3 and seen["tall"] > 15 and seen["gone"] > 0, seen
    assert seen["steps"] == len(found.revisions) and seen["checks"] == len(found.verdict)
    assert f"{found.usage.requests} request" in seen["meta"]
    assert seen["name"].endswith(found.id[-5:]), "the end that tells it from others"
    page.key("4")
    asked = page.wait("document.querySelector('.turn details pre')?.textContent")
    assert found.question in asked, "the message as it was sent"
    assert not page.complaints


def test_hostile_text_is_inert(run_dir: Path, page: Any) -> None:
    opened(page, written(run_dir))
    page.do("[...document.querySelectorAll('#list b')].find(b => b.title.includes('onerror'))"
            ".closest('button').click()")
    page.wait("document.querySelector('.id')?.textContent.includes('onerror')")
    for key in "1234":
        page.key(key)
        assert page.do("""[document.title.includes('owned'), document.querySelectorAll(
            'img, #row script, #row b:not(.what b), #row i:not(.track i)').length,
            document.querySelector('#row').textContent.includes('\\u202e')]""") == [False, 0, False]
    assert "U+202E" in page.do("document.querySelector('#row').textContent")
    chosen(page, "state", "r")
    page.do("document.querySelector('#list button').click()")
    red = page.wait("document.querySelector('.saving .bad') && getComputedStyle("
                    "document.querySelector('.saving .bad')).color")
    assert red == page.do("getComputedStyle(document.querySelector('#list em.out')).color")
    chosen(page, "state", "")
    assert not page.complaints


def test_keys_and_decisions_kept_by_the_browser(run_dir: Path, page: Any) -> None:
    opened(page, written(run_dir))
    page.do("localStorage.clear()")
    opened(page, written(run_dir))
    page.key("/")
    assert page.do("document.activeElement.id") == "search"
    page.key("ArrowDown")
    page.key("ArrowDown")
    page.wait("document.querySelector('#list [aria-current]') === document.activeElement")
    assert page.do("document.activeElement.matches(':focus-visible') && "
                   "getComputedStyle(document.activeElement).outlineStyle") == "solid"
    second = page.do("document.querySelector('.id').textContent")
    page.key("j")
    page.wait(f"document.querySelector('.id').textContent !== {json.dumps(second)}")
    page.key("a")
    page.wait("$('do-accept').getAttribute('aria-pressed') === 'true'")
    page.key("e")
    page.do("""(() => { const area = document.querySelector('textarea');
        area.value = area.value.replace(/boxed\\{[^]*\\}/, 'boxed{77}'); area.oninput(); })()""")
    assert "boxed answer was" in page.do("document.querySelector('.editor .checks').textContent")
    page.do("$('save').click()")
    page.wait("$('take')")
    page.do("$('take').click()")
    page.wait("!$('take')")
    opened(page, written(run_dir))
    assert page.do("[$('export').textContent, decisions.size, [...decisions.values()][0].action]") \
        == ["Save 1 decision", 1, "accept"]
    page.key("?")
    assert page.do("$('keys').open")
    assert not page.complaints


def test_back_reload_and_text_that_is_not_saved(run_dir: Path, page: Any) -> None:
    """Back leads to the view before, a reload to the same row; a text waits for its row."""
    opened(page, written(run_dir), width=420, height=800)
    page.do("localStorage.clear()")
    page.do("$('to-rows').click()")
    one, two = [r.id for r in jsonl.read(run_dir / "pruned.jsonl", Pruned)][:2]
    row(page, one)
    page.key("ArrowRight")
    page.wait(f"document.querySelector('.id').textContent === {json.dumps(two)}")
    page.do("history.back()")
    page.wait("document.body.dataset.view === 'list'")
    page.do("history.forward()")
    page.wait(f"document.body.dataset.view === 'row' && row.id === {json.dumps(two)}")
    page.do("location.reload()")
    page.wait("performance.getEntriesByType('navigation')[0].type === 'reload' && "
              f"document.getElementById('do-edit') && row.id === {json.dumps(two)}")
    page.key("e")
    page.do("(() => { const area = document.querySelector('textarea'); area.value += ' More.'; "
            "area.oninput(); })()")
    page.key("Escape")
    page.do("step(-1)")
    page.wait(f"row.id === {json.dumps(one)} && $('do-edit').textContent.startsWith('Edit')")
    page.do("step(1)")
    page.wait("$('do-edit').textContent.startsWith('Continue')")
    page.key("e")
    assert page.do("document.querySelector('textarea').value").endswith(" More.")
    page.do("$('save').click()")
    page.wait("!drafts.size && $('do-undo')")
    assert not page.complaints


def test_two_tabs_keep_each_others_decisions(run_dir: Path, page: Any) -> None:
    opened(page, written(run_dir))
    page.do("localStorage.clear()")
    opened(page, written(run_dir))
    one, two = [r.id for r in jsonl.read(run_dir / "pruned.jsonl", Pruned)][:2]
    other = {"base": "[]", "edits": [{"id": one, "action": "reject"}]}
    page.do(f"localStorage.setItem(store(), {json.dumps(json.dumps(other))})")
    row(page, two)
    page.key("a")
    page.wait("decisions.size === 2")
    kept = page.do("JSON.parse(localStorage.getItem(store())).edits")
    assert {edit["id"]: edit["action"] for edit in kept} == {one: "reject", two: "accept"}
    page.do("localStorage.setItem(store(), JSON.stringify({base, edits: []})); window.onfocus()")
    page.wait("!decisions.size && !$('do-undo') && $('export').hidden")
    assert not page.complaints


@pytest.mark.parametrize("kind", ["file", "served"])
def test_another_pages_decision_on_the_same_row_is_not_replaced_unseen(
        run_dir: Path, page: Any, served: str, kind: str) -> None:
    url = served if kind == "served" else written(run_dir)
    opened(page, url)
    page.do("localStorage.clear()")
    opened(page, url)
    one, two = [r.id for r in jsonl.read(run_dir / "pruned.jsonl", Pruned)][:2]
    theirs = "<think>\nTheir text.\n</think>\n\nIt is 1."

    def elsewhere(edit: dict[str, str]) -> None:
        if kind == "served":
            jsonl.write(run_dir / "edits.jsonl", [edit])
        else:
            page.do("localStorage.setItem(store(), JSON.stringify("
                    f"{{base, edits: [{json.dumps(edit)}]}}))")

    def kept() -> dict[str, str]:
        return {e["id"]: e.get("response", e["action"]) for e in page.do("kept()")}

    row(page, one)
    elsewhere({"id": one, "action": "edit", "response": theirs})
    page.key("r")
    page.wait("$('said').textContent.includes('meanwhile')")
    assert kept() == {one: theirs} and page.do("$('row').textContent").count("Their text.") == 1
    page.key("r")  # now it is seen
    page.wait("$('do-reject').getAttribute('aria-pressed') === 'true'")
    assert kept() == {one: "reject"}
    row(page, two)
    page.key("e")
    page.do("(() => { const area = document.querySelector('textarea'); area.value = "
            "area.value.replace('</think>', 'Ours.\\n</think>'); area.oninput(); })()")
    elsewhere({"id": two, "action": "edit", "response": theirs})
    page.do("window.onfocus()")
    page.do("$('save').click()")
    page.wait("$('said').textContent.includes('meanwhile')")
    assert "Their text." in page.do("document.querySelector('.editor').textContent")
    assert "Ours." in page.do("document.querySelector('textarea').value"), "nothing typed is lost"
    assert kept() == {two: theirs}
    page.do("$('save').click()")
    page.wait("!document.querySelector('.editor') && $('do-undo')")
    assert "Ours." in kept()[two] and not page.complaints


@pytest.mark.parametrize(("before", "after", "shown"), [
    (100, 40, "−60 %"), (100, 100, "0 %"), (1000, 999, "0 %"), (100, 130, "+30 %"),
    (10, 50, "+400 %"), (0, 44, "44 tokens"), (0, 1, "1 token")])
def test_a_change_in_tokens_as_it_is(page: Any, before: int, after: int, shown: str) -> None:
    line = f"['p', 'a', '', null, null, {before}, {after}]"
    assert page.do(f"saved({line})") == shown


def test_rows_that_grew_and_rows_of_nothing_have_their_place(page: Any, made: Path,
                                                             tmp_path: Path) -> None:
    """Longer than before, much longer, and distilled: the teacher's own work on a question."""
    rows = list(jsonl.read(made / "pruned.jsonl", Pruned))[:4]
    tokens = [(100, 40), (100, 130), (100, 950), (0, 44)]
    jsonl.write(tmp_path / "pruned.jsonl", [
        r.model_copy(update={"tokens_before": b, "tokens_after": a, **(
            {} if b else {"original": "", "steps": (), "revisions": ()})})
        for r, (b, a) in zip(rows, tokens, strict=True)])
    jsonl.write(tmp_path / "rejects.jsonl", [])
    opened(page, written(tmp_path))
    assert chosen(page, "reduction", "-Infinity 0.1") == 2
    assert chosen(page, "reduction", "") == 4
    places = {}
    for name in ("least", "most"):
        chosen(page, "order", name)
        places[name] = page.do("order.map(i => run.rows[i][AFTER])")
    assert places == {"least": [950, 130, 40, 44], "most": [40, 130, 950, 44]}
    row(page, rows[3].id)
    assert page.do("[...document.querySelectorAll('.tabs button')].map(b => b.textContent)") == [
        "Result", "Teacher"]
    assert page.do("document.querySelector('.saving').textContent") == "44 tokens"
    assert not page.complaints


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(run_dir: Path, page: Any, dark: bool) -> None:
    opened(page, written(run_dir), width=420, height=800, dark=dark)
    wide = "document.documentElement.scrollWidth <= 420"
    assert page.do(wide)
    page.do("$('to-rows').click()")
    assert page.do("getComputedStyle(document.querySelector('aside')).display") == "flex"
    assert page.do(wide)
    row(page, first(run_dir).id)
    assert page.do("$('row').getBoundingClientRect().top") < 200, "a tap shows the row"
    assert page.do(wide + " && $('detail').scrollWidth <= 420")
    paper = page.do("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(paper) < 60 if dark else min(paper) > 200
    assert not page.complaints


@pytest.fixture
def served(run_dir: Path) -> Iterator[str]:
    import io

    file = io.StringIO()
    write_page(run_dir, file, served=True)
    made, address = server(run_dir, file.getvalue().encode())
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield address
    made.shutdown()
    made.server_close()


def test_edits_are_saved_checked_and_built(run_dir: Path, page: Any, served: str,
                                           tmp_path: Path) -> None:
    """Edit, see what is wrong, accept; rescue a reject; build: both are in the set, named."""
    opened(page, served)
    one = first(run_dir)
    row(page, one.id)
    page.key("e")
    page.do("(() => { const area = document.querySelector('textarea'); area.value = "
            "area.value.replace('</think>', 'It took 98765 tries.\\n</think>'); })()")
    page.do("$('save').click()")
    page.wait("$('take')")
    assert "98765" in page.do("document.querySelector('.decide ~ .fold').textContent")
    assert read_edits(run_dir)[one.id].action == "edit"
    page.do("$('take').click()")
    page.wait("!$('take') && $('do-accept').getAttribute('aria-pressed') === 'true'")
    assert read_edits(run_dir)[one.id].action == "accept"
    chosen(page, "state", "r")
    page.do("document.querySelector('#list button').click()")
    page.wait("$('do-edit')?.textContent.startsWith('Rescue')")
    lost = page.do("document.querySelector('.id').textContent")
    page.key("e")
    page.do("$('save').click()")
    page.wait("$('do-undo')")
    assert set(read_edits(run_dir)) == {one.id, lost}
    page.wait("$('take')")  # its answer is not the gold one
    page.do("$('take').click()")
    page.wait("!$('take')")
    assert not page.complaints
    result = CliRunner().invoke(group, ["build", str(run_dir), "-o", str(tmp_path), "--name", "s"])
    assert result.exit_code == 0, result.output
    known = {r.value["id"]: r.value for r in jsonl.rows(tmp_path / "s.provenance.jsonl") if r.value}
    assert known[one.id]["edited"] == "edited, accepted in spite of numbers"
    assert known[one.id]["tokens_after"] > one.tokens_after
    assert known[lost]["edited"].startswith("edited, accepted in spite of answer")
    texts = [r["conversations"][1]["value"] for r in json.loads((tmp_path / "s.json").read_text())]
    assert sum("It took 98765 tries." in text for text in texts) == 1
    opened(page, served)
    row(page, one.id)
    page.key("u")
    page.wait("!$('do-undo')")
    assert set(read_edits(run_dir)) == {lost}
    jsonl.write(run_dir / "edits.jsonl", [{"id": one.id, "action": "reject"}])  # another tab did
    page.do("window.onfocus()")
    page.wait("$('do-reject').getAttribute('aria-pressed') === 'true' && decisions.size === 1")


def test_a_page_whose_server_has_ended_says_so(run_dir: Path, page: Any, served: str) -> None:
    opened(page, served)
    row(page, first(run_dir).id)
    page.do("history.replaceState(null, '', '/of-an-earlier-start/')")
    page.key("a")
    page.wait("$('said').textContent.includes('has ended. Start it again')")
    assert not page.do("decisions.size") and not (run_dir / "edits.jsonl").exists()


def test_other_pages_are_kept_out(run_dir: Path, served: str) -> None:
    host = served.split("/")[2]

    def asked(url: str, body: str | None = None, **headers: str) -> int:
        request = urllib.request.Request(url, None if body is None else body.encode(), {
            name.replace("_", "-"): value for name, value in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    good = json.dumps({"id": first(run_dir).id, "action": "reject"})
    own = f"http://{host}"
    assert asked(served) == asked(served + "edits") == 200
    assert asked(f"{own}/") == asked(f"{own}/wrong/") == asked(f"{own}/wrong/edits") == 404
    assert asked(served, Host="evil.example") == 404, "another name that was pointed here"
    assert asked(served + "decide", good) == 403, "no Origin"
    assert asked(served + "decide", good, Origin="http://evil.example") == 403
    assert asked(served + "decide", good, Origin=own, Host="evil.example") == 403
    assert asked(f"{own}/wrong/decide", good, Origin=own) == 403
    assert asked(served + "decide", "[1]", Origin=own) == 400
    assert asked(served + "decide", '{"id": "x", "action": "burn"}', Origin=own) == 400
    assert asked(served + "decide", '{"id": "x", "action": "edit", "response": "a"}',
                 Origin=own) == 400, "no such row"
    assert not (run_dir / "edits.jsonl").exists()
    assert asked(served + "decide", good, Origin=own) == 200
    assert list(read_edits(run_dir)) == [first(run_dir).id]


def test_the_command_serves_until_it_is_interrupted(run_dir: Path) -> None:
    import signal
    import subprocess
    import sys

    process = subprocess.Popen([sys.executable, "-m", "drp_plugin", "inspect", str(run_dir),
                                "--serve"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert b"connect-src 'self'" in answer.read()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
