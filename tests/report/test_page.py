"""The pages in a real browser: figures there, tables readable, hostile text inert."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from drp_plugin.report import make_report, read_runs, score_run, write_report
from drp_plugin.tokens import TokenCounter

from .conftest import Writer, documents, write_run

HOSTILE = ("<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
           "</pre></details></body><h1>gone</h1>{{ 7 * 7 }}\u202eevil\u2066 &lt;b&gt; \x00 "
           "\\boxed{1} $\\frac{1}{2}$ $\\operatorname{<img src=x onerror=alert(1)>}$")
NAMES = ("Base", "<i>DRP\u202e$x$", "TALE", "CoT-Valve", "ThinkPrune", "entropy", "random",
         "no-thinking", "shortest")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, counter: TokenCounter) -> Path:
    """The report of nine methods on two tasks; completions.html lies beside it."""
    pytest.importorskip("matplotlib")
    root, runs = tmp_path_factory.mktemp("page"), []
    for number, name in enumerate(NAMES):
        rows = documents(12, {number}, 20 + 5 * number, 10)
        for sample in rows:
            sample["drp"] = {"id": f"q{sample['doc_id']}", "question": f"Is it {HOSTILE}?",
                             "level": f"Level {sample['doc_id'] % 2}"}
        rows[3]["filtered_resps"] = f"<think>\n{HOSTILE}\n</think>{HOSTILE}"
        if number:
            rows[4]["filtered_resps"] = "<think>" + "A" * 200_000 + "</think>no answer"
        rows[5]["filtered_resps"] = "<think>\n" + "Wait, once more. " * 900
        folder = write_run(root, f"run{number}", {"drp_math500": rows, "drp_aime24": rows})
        runs.append(f"{name}={folder}")
    scored = [score_run(run, counter, 12_000) for run in read_runs(runs)]
    files, missing = write_report(make_report(scored, 12_000, "qwen"), scored, root / "out")
    assert not missing
    assert {f.name for f in files} >= {
        "report.html", "completions.html", "figure3.svg", "figure3.png", "figure4.svg",
        "budget.svg", "tradeoff.png", "results.json", "table5.csv", "table1.tex", "levels.csv"}
    return root / "out" / "report.html"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_page_is_self_contained_and_inert(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text) < 3_000_000, "long completions must not swell the page"
    tags = _Tags()
    tags.feed(text)
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "iframe", "object", "embed", "link", "base", "form", "i", "svg"}
    for tag, attributes in tags.seen:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        source = attributes.get("src")
        assert source is None or source.startswith("data:image/svg+xml;base64,")
        assert attributes.get("href", "completions.html").split("#")[0] == "completions.html"
    assert sum(tag == "img" for tag, _ in tags.seen) == 4
    assert "\u202e" not in text and "U+202E" in text
    assert "{{ 7 * 7 }}" in text
    assert "http-equiv=\"Content-Security-Policy\"" in text


def test_browser_page_holds_every_completion_and_no_markup(page: Path) -> None:
    text = page.with_name("completions.html").read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    assert sum(tag == "script" and "type" not in found for tag, found in tags.seen) == 1
    assert not {"img", "iframe", "i", "object", "link"} & {tag for tag, _ in tags.seen}
    assert "\u202e" not in text and "owned" not in text
    assert re.search(r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src", text)
    parts = dict(re.findall(r'<script type="text/plain" id="([\w-]+)">([^<]+)</script>', text))
    islands = {name: json.loads(gzip.decompress(base64.b64decode(packed)))
               for name, packed in parts.items()}
    index = islands["index"]
    assert index["methods"] == list(NAMES)
    assert [(t["task"], len(t["problems"])) for t in index["tasks"]] == [
        ("drp_math500", 12), ("drp_aime24", 12)]
    math = islands["part-0"]["math"]
    assert [*math][:2] == ["\\boxed{1}", "$\\frac{1}{2}$"] and not any("img" in m for m in math)
    found = 0
    for task in index["tasks"]:
        for doc, question, level, outcomes, part, place in task["problems"]:
            whole, gold, completions = islands[f"part-{part}"]["rows"][place]
            assert doc.startswith("q") and whole.startswith(question) and level.startswith("Level")
            assert set(outcomes) == set(completions) == set(map(str, range(9))) and gold
            found += sum(len(samples) for samples in completions.values())
    assert found == 9 * 2 * 12


def test_pages_are_the_same_bytes_each_time(write: Writer, tmp_path: Path,
                                            counter: TokenCounter) -> None:
    folder = write("same", {"drp_gsm8k": documents(3, set(), 5)})
    (run,) = read_runs([f"A={folder}"])
    for out in ("one", "two"):
        scored = [score_run(run, counter, 12_000)]
        write_report(make_report(scored, 12_000, "qwen"), scored, tmp_path / out)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


# ---- in Chromium

def in_chromium(page: Path, script: str, tmp_path: Path, *, width: int = 1400,
                dark: bool = False, place: str = "") -> dict[str, Any]:
    """What a script finds in the page; fails on anything that the page says on the console."""
    browser = next(filter(None, map(shutil.which, (
        "chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here")
    text = page.read_text(encoding="utf-8")
    text = text.replace("script-src '", "script-src 'nonce-probe' '", 1) if "script-src" in text \
        else text.replace("style-src 'unsafe-inline'",
                          "style-src 'unsafe-inline'; script-src 'nonce-probe'", 1)
    probe = page.with_name(f"probe-{page.name}")
    probe.write_text(text.replace("</body>\n</html>", f"""<script nonce="probe">
addEventListener("load", async () => {{
  let told;
  try {{ told = await (async () => {{ {script} }})(); }}
  catch (error) {{ told = {{error: String(error)}}; }}
  parent.postMessage(told, "*");
}});
</script></body>
</html>"""), encoding="utf-8")
    # a window is 500 pixels wide at least, a frame as narrow as it is told to be
    frame = page.with_name("frame.html")
    frame.write_text(f"""<!doctype html><body style="margin: 0"><script>
addEventListener("message", event => {{
  const out = document.createElement("pre");
  out.id = "probe"; out.textContent = JSON.stringify(event.data); document.body.append(out);
}});
</script><iframe src="{probe.as_uri()}{html.escape(place)}" width="{width}" height="1200"
style="border: 0"></iframe>""", encoding="utf-8")
    done = subprocess.run([
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1500,1300", "--virtual-time-budget=20000", "--enable-logging=stderr",
        "--v=0", f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom",
        frame.as_uri()], capture_output=True, text=True, timeout=300, check=True)
    told = done.stdout.rpartition('<pre id="probe">')[2].partition("</pre>")[0]
    found: dict[str, Any] = json.loads(html.unescape(told))
    assert "error" not in found, found
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return found


LOOK = """
const box = e => e.getBoundingClientRect();
const light = color => color.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 765;
return {
  title: document.title, width: innerWidth,
  images: [...document.images].map(i => [i.complete, i.naturalWidth, box(i).width]),
  tables: [...document.querySelectorAll("table")].map(t => [t.rows.length, box(t).height]),
  headings: [...document.querySelectorAll("h1")].map(h => h.textContent),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  details: document.querySelectorAll("details").length,
  lead: document.getElementById("headline").textContent,
  paper: light(getComputedStyle(document.body).backgroundColor),
  ink: light(getComputedStyle(document.body).color),
  marks: document.querySelectorAll("pre mark").length,
  fractions: [...document.querySelectorAll("#examples mfrac")].map(m => {
    m.closest("details").open = true; return box(m).height; }),
};
"""


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("dark", [False, True])
def test_report_in_chromium(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    found = in_chromium(page, LOOK, tmp_path, width=width, dark=dark)
    assert (found["title"], found["headings"]) == (
        "DRP evaluation report", ["DRP evaluation report"])
    assert found["width"] == width
    assert len(found["images"]) == 4
    assert all(complete and natural > 300 and shown <= width
               for complete, natural, shown in found["images"])
    assert len(found["tables"]) >= 6
    assert all(rows >= 2 and height > 40 for rows, height in found["tables"])
    assert found["overflow"] <= 0, "the page must not scroll sideways"
    assert found["details"] >= 2 and found["marks"] >= 2
    assert found["fractions"] and min(found["fractions"]) > 12, "drawn, numerator over denominator"
    assert found["lead"].count(" against Base: ") == 8
    assert (found["paper"] < 0.2 < 0.8 < found["ink"]) if dark else (
        found["ink"] < 0.2 < 0.8 < found["paper"])


BROWSE = """
const wait = async test => {
  for (let i = 0; i < 400 && !test(); i++) await new Promise(r => setTimeout(r, 25));
};
const status = () => document.getElementById("status").textContent;
const listed = () => document.querySelectorAll("#list button").length;
await wait(() => document.body.dataset.ready);
const found = {title: document.title, first: status(), width: innerWidth,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  task: document.querySelector("#task option:checked").textContent,
  beside: document.querySelector("#b option:checked").textContent,
  heading: document.querySelector("#detail h2").textContent,
  sides: document.querySelectorAll(".sides section").length,
  marks: document.querySelectorAll("pre mark").length,
  fractions: [...document.querySelectorAll("#detail mfrac")].map(
    m => m.getBoundingClientRect().height),
  namespaces: [...new Set(
    [...document.querySelectorAll("#detail math *")].map(m => m.namespaceURI))],
  text: [...document.querySelectorAll(".sides pre")].map(p => p.textContent)};
const choose = async (id, value, count) => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event("change"));
  await wait(() => listed() === count);
  return listed();
};
found.wrong = await choose("show", "wrong", 1);
found.changed = await choose("show", "changed", 3);
found.lost = await choose("show", "lost", 2);
found.won = await choose("show", "won", 1);
found.loop = await choose("show", "loop", 1);
found.truncated = await choose("show", "truncated", 1);
found.all = await choose("show", "all", 12);
found.level = await choose("level", "Level 1", 6);
await choose("level", "", 12);
found.searched = await choose("search", "ONCE MORE", 1);
found.hit = document.querySelector("#detail h2").textContent;
found.injected = document.querySelectorAll("h1, img, #detail script").length;
return found;
"""


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (420, True)])
def test_browser_in_chromium(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    """Opened at a place, filtered, searched; what a model wrote stays text."""
    place = "#task=drp_math500&doc=q3%3A0000000000000000&a=Base&b=TALE"
    found = in_chromium(page.with_name("completions.html"), BROWSE, tmp_path, width=width,
                        dark=dark, place=place)
    assert (found["title"], found["task"], found["beside"], found["heading"]) == (
        "Completions", "MATH500 (OOD)", "TALE", "q3")
    assert found["first"] == "12 of 12 problems" and found["width"] == width
    assert found["overflow"] <= 0
    assert found["sides"] == 2
    assert len(found["fractions"]) >= 3 and min(found["fractions"]) > 12
    assert found["namespaces"] == ["http://www.w3.org/1998/Math/MathML"]
    assert all("<script>document.title" in text and "⟨U+202E⟩" in text and "\u202e" not in text
               for text in found["text"])
    # Base: q0 wrong, q3 and q5 neither; TALE: q2 wrong, q4 without an answer
    assert {name: found[name] for name in ("changed", "lost", "won", "loop", "truncated", "all",
                                           "level", "searched")} == {
        "changed": 3, "lost": 2, "won": 1, "loop": 1, "truncated": 1, "all": 12, "level": 6,
        "searched": 1}
    assert found["hit"] == "q5"
    assert found["injected"] == 1, "the page's own heading and nothing else"
