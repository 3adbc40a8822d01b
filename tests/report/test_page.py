"""The page in a real browser: figures there, tables readable, hostile text inert."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from drp_plugin.report import make_report, read_runs, score_run, write_report
from drp_plugin.tokens import TokenCounter

from .conftest import Writer, documents

HOSTILE = ("<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
           "</pre></details></body><h1>gone</h1>{{ 7 * 7 }}\u202eevil\u2066 &lt;b&gt; \x00 "
           "\\boxed{1}")


@pytest.fixture()
def page(write: Writer, tmp_path: Path, counter: TokenCounter) -> Path:
    pytest.importorskip("matplotlib")
    before = documents(12, {1}, 60, 10)
    after = documents(12, {2}, 20, 10)
    after[3]["filtered_resps"] = f"<think>\n{HOSTILE}\n</think>{HOSTILE}"
    after[4]["filtered_resps"] = "<think>" + "A" * 1_000_000 + "</think>no answer"
    runs = [f"Base={write('before', {'drp_gsm8k': before, 'drp_aime24': before})}",
            f"<i>DRP\u202e$x$={write('after', {'drp_gsm8k': after, 'drp_aime24': after})}"]
    scored = [s for run in read_runs(runs) for s in score_run(run, counter, 12_000)]
    files, missing = write_report(make_report(scored, 12_000, "qwen"), scored, tmp_path / "out")
    assert not missing
    assert {f.name for f in files} >= {"report.html", "figure3.svg", "figure3.png", "figure4.svg",
                                       "tradeoff.png", "results.json", "table5.csv"}
    return tmp_path / "out" / "report.html"


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


def test_in_chromium(page: Path, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, (
        "chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here")
    # a probe around the page: what the browser made of it, as text in the dump
    probe = page.with_name("probe.html")
    probe.write_text(page.read_text(encoding="utf-8").replace(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'nonce-probe'")
        .replace("</body>\n</html>", """<script nonce="probe">
addEventListener("load", () => {
  const box = e => e.getBoundingClientRect();
  const found = {
    title: document.title,
    images: [...document.images].map(i => [i.complete, i.naturalWidth]),
    tables: [...document.querySelectorAll("table")].map(t => [t.rows.length, box(t).height]),
    headings: [...document.querySelectorAll("h1")].map(h => h.textContent),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    details: document.querySelectorAll("details").length,
  };
  const out = document.createElement("pre");
  out.id = "probe"; out.textContent = JSON.stringify(found);
  document.body.append(out);
});
</script></body>
</html>"""), encoding="utf-8")
    common = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
              "--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}",
              "--window-size=1280,2400", "--virtual-time-budget=8000", "--enable-logging=stderr",
              "--v=0"]
    done = subprocess.run([*common, "--dump-dom", probe.as_uri()], capture_output=True, text=True,
                          timeout=300, check=True)
    told = done.stdout.rpartition('<pre id="probe">')[2].partition("</pre>")[0]
    found = json.loads(told.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert found["title"] == "DRP evaluation report"
    assert found["headings"] == ["DRP evaluation report"]
    assert len(found["images"]) == 4
    assert all(complete and width > 300 for complete, width in found["images"])
    assert len(found["tables"]) >= 4
    assert all(rows >= 2 and height > 40 for rows, height in found["tables"])
    assert found["overflow"] <= 0, "the page must not scroll sideways"
    assert found["details"] >= 2
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console

    shot = tmp_path / "page.png"
    subprocess.run([*common, f"--screenshot={shot}", page.as_uri()], capture_output=True,
                   timeout=300, check=True)
    assert shot.stat().st_size > 30_000
