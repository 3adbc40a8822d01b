"""What the report writes beside its pages is text to whoever renders, opens or compiles it."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from drp_plugin.redact import markdown
from drp_plugin.report import make_report, read_runs, score_run, write_report
from drp_plugin.report.layout import Cell, Column, Line, Table, csv_text, rendered
from drp_plugin.tokens import TokenCounter
from drp_plugin.training.sft_set import SetSettings, build

from .conftest import Writer, documents

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></table><h1>gone",
    "![x](http://127.0.0.1/beacon.png)", "[x](javascript:alert(1))", "[x]: http://127.0.0.1/",
    "<http://127.0.0.1/>", "`code` ``` more", "a | b | c", "a \\| b", "**bold** _soft_ ~~gone~~",
    "# heading", "- item", "1. item", "> quote", "--- rule", "===", "&lt;b&gt; &amp; &#60;i&#62;",
    "\\input{/etc/passwd}", "\\write18{id}", "$x^2$ ^^5cinput", "[9pt] a", "* a", "{ % ~ # _ }",
    "=cmd|'/C calc'!A0", "+1+cmd", "-1+cmd", "@SUM(A1)", "\t=1+1", "x;=1+1", "x,=1+1", "x\n=1+1",
    "x | @SUM(A1)", "=HYPERLINK(\"http://127.0.0.1/?\"&A1)", "=cmd", "\x1b]0;x\x07", "\u202ex",
    "a_b 3.5")
TAGS = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "strong", "em",
        ""}
LATEX = {"begin", "end", "toprule", "midrule", "bottomrule", "multicolumn", "textit", "scriptsize",
         "textbackslash", "textasciitilde", "textasciicircum", "to", "ge", "Delta"}


def parsed(text: str) -> tuple[set[str], str]:
    """The tags that Markdown becomes, and its words."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    inside = [child for token in tokens for child in token.children or []]
    assert not {t.type for t in (*tokens, *inside)} & {
        "html_block", "html_inline", "image", "link_open", "code_inline", "code_block", "fence"}
    return {t.tag for t in (*tokens, *inside)}, "\n".join(
        "".join(c.content for c in t.children or []) for t in tokens if t.type == "inline")


def plain(text: str) -> str:
    """A name as a person sees it, in one line."""
    return " ".join(re.sub("[\x00-\x08\x0b-\x1f\u202e]", lambda c: f"⟨U+{ord(c[0]):04X}⟩",
                           text).split())


def formulas(text: str) -> list[str]:
    """Cells that a spreadsheet would work out, whichever separator it takes."""
    found = []
    for separator in ",;\t|":
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            for cell in map(str.strip, row):
                if cell[:1] and cell[0] in "=@+-" and not re.fullmatch(r"[+-]?[\d.e+-]+", cell):
                    found.append(cell)
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_of_markdown_shows_what_it_is_given(text: str) -> None:
    for before, after in (("", ""), ("- ", ""), ("| ", " |\n|---|\n"), ("**", "**")):
        tags, words = parsed(f"{before}{markdown(text)}{after}\n")
        assert words == plain(text)
        assert not tags - {"p", "ul", "li", "strong", "", *(
            ("table", "thead", "tr", "th") if "|" in before else ())}, tags


def test_every_table_is_text(tmp_path: Path) -> None:
    table = Table("t", "A title", tuple(Column(x, x) for x in HOSTILE), (
        *(Line(tuple(Cell(x, x) for x in HOSTILE), kind) for kind in ("ours", "paper")),
        *(Line((Cell(x),), "section") for x in HOSTILE)), HOSTILE)
    tags, words = parsed(rendered(table, "md"))
    assert not tags - TAGS
    assert all(words.count(plain(x)) >= 3 for x in HOSTILE)
    tex = rendered(table, "tex")
    lines = [line for line in tex.splitlines() if not line.startswith("%")]
    assert {*re.findall(r"\\([a-zA-Z]+)", "\n".join(lines))} == LATEX & {
        *re.findall(r"\\([a-zA-Z]+)", tex)}
    assert not [x for x in lines if x.lstrip().startswith(("[", "*", "("))], "no command's option"
    for line in lines[3:]:
        cells = len(re.findall(r"(?<!\\)&", line)) + 1
        assert cells in (1, len(HOSTILE))
        assert len(re.findall(r"(?<!\\)\{", line)) == len(re.findall(r"(?<!\\)\}", line))
    assert not re.search(r"(?<!\\)[%#^~]", "\n".join(lines))
    ours = table._replace(lines=tuple(x for x in table.lines if x.kind != "paper"))
    assert not formulas(csv_text(ours))
    # a section is told beside the lines below it
    below = [x for pair in zip(table.lines[2:], [table.lines[0]] * 99, strict=False) for x in pair]
    assert not formulas(csv_text(table._replace(lines=tuple(below))))


def test_a_report_of_hostile_runs(write: Writer, counter: TokenCounter, tmp_path: Path) -> None:
    """Names of methods, levels of problems, what the model wrote."""
    names = [x for x in HOSTILE if not {*"\n\t=/"} & {*x}][:12]
    runs = []
    for number, name in enumerate(names):
        rows = documents(4, {number % 4}, 5 + number)
        for at, sample in enumerate(rows):
            said = HOSTILE[(4 * number + at) % len(HOSTILE)]
            sample["drp"] = {"id": said, "question": said, "level": said}
            sample["filtered_resps"] = f"<think>\n{said}\n</think>\n{sample['filtered_resps']}"
        runs.append(f"{name}={write(f'r{number}', {'drp_math500': rows}, model=f'm{number}')}")
    scored = [score_run(run, counter, 12_000) for run in read_runs(runs)]
    files, _ = write_report(make_report(scored, 12_000, "qwen"), scored, tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    pictures = re.compile(r"^!\[[^\]]*\]\((\w+\.png)\)$", re.M)
    assert all((tmp_path / "out" / name).exists() for name in pictures.findall(text))
    tags, words = parsed(pictures.sub("", text))
    assert not tags - TAGS
    assert all(plain(name) in words for name in names)
    for file in files:
        if file.suffix == ".csv":
            assert not formulas("\n".join(x for x in file.read_text("utf-8").splitlines()
                                          if "paper" not in x))


def test_a_card_of_hostile_rows(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "pruned.jsonl").write_text("".join(json.dumps({
        "id": f"q{n}", "question": f"{n} + 1?", "answer": str(n + 1), "dataset": text,
        "model": text, "teacher": text, "prompts_hash": text, "original": "x",
        "response": f"<think>\nadd\n</think>\n\n\\boxed{{{n + 1}}}", "tokens_before": 9,
        "tokens_after": 5}) + "\n" for n, text in enumerate(HOSTILE)))
    build([run], tmp_path / "set", SetSettings(name="x"))
    card = (tmp_path / "set" / "x.md").read_text("utf-8").split("---\n", 2)[2]
    tags, words = parsed(re.sub(r"`([\w: ]+)`", r"\1", card))
    assert not tags - TAGS
    assert not {text: words.count(plain(text)) for text in HOSTILE
                if words.count(plain(text)) < 3}
