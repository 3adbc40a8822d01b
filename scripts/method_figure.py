"""Write docs/images/method.svg, the picture of the method in the README.

    python scripts/method_figure.py            write it
    python scripts/method_figure.py --check    exit with 1 when it is not up to date
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

FILE = Path(__file__).resolve().parent.parent / "docs" / "images" / "method.svg"
WIDTH, HEIGHT = 960, 392
COLOURS = {"KEEP": "#1a7f37", "DELETE": "#b42318", "COMPRESS": "#9a6700", "MERGE": "#5b3fb3"}
STEPS = [  # what the teacher makes of a trace: skill, text, action
    ("reading quantities", "Tom has 3 pens and buys 4 twice.", "KEEP"),
    ("multiplication", "So, twice 4, that is 4 + 4, so 8.", "COMPRESS"),
    ("addition", "Now 3 and 8 … 3 + 8 = 11.", "KEEP"),
    ("checking", "Wait, is that right? Let me check.", "DELETE"),
    ("checking", "3 + 8 is 11 again. Yes, 11.", "DELETE"),
]
PRUNED = ["<think>", "Tom has 3 pens,", "buys 4 twice. 4 × 2 = 8.", "3 + 8 = 11.",
          "</think>", "The answer is 11."]


def text(x: float, y: float, content: str, kind: str = "", **more: str) -> str:
    attributes = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return f'<text x="{x}" y="{y}" class="{kind}"{attributes}>{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, title: str, below: str) -> list[str]:
    """A titled frame."""
    return [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="box"/>',
            text(x + 14, y + 24, title, "title"), text(x + 14, y + 42, below, "small")]


def arrow(points: str, label: str, x: float, y: float) -> list[str]:
    return [f'<path d="{points}" class="arrow" marker-end="url(#tip)"/>',
            text(x, y, label, "small", text_anchor="middle")]


def drawn() -> str:
    """The whole picture, on white, so that it reads in dark pages too."""
    parts = box(16, 56, 196, 132, "Student", "a reasoning model")
    parts += [text(30, 124, "writes long traces", "plain"),
              text(30, 144, "T, then an answer A:", "plain"), text(30, 166, "R = (T, A)", "code")]
    parts += box(276, 16, 396, 260, "Teacher", "an LLM cuts T into steps with a skill, then acts")
    for i, (skill, step, action) in enumerate(STEPS):
        y = 74 + 39 * i
        parts += [f'<rect x="290" y="{y}" width="368" height="33" rx="5" class="step"/>',
                  text(300, y + 14, skill, "small"), text(300, y + 28, step, "code"),
                  text(648, y + 21, action, "action", text_anchor="end",
                       style=f"fill:{COLOURS[action]}")]
    parts += box(736, 56, 208, 184, "Pruned response", "the student's own words, fewer")
    parts += [text(750, 122 + 20 * i, line, "code") for i, line in enumerate(PRUNED)]
    parts += box(276, 312, 396, 64, "Checks, by rules",
                 "same answer, no new number, not longer, whole")
    parts += arrow("M212 122 H268", "§3.1", 240, 114)
    parts += arrow("M672 150 H728", "§3.2", 700, 142)
    parts += arrow("M840 240 V344 H680", "verify", 762, 336)
    parts += arrow("M276 344 H114 V196", "fine-tune with LoRA (§3.3)", 196, 336)
    style = (
        "text{font-family:system-ui,sans-serif;fill:#1f2328}.title{font-size:16px;font-weight:600}"
        ".small{font-size:12px;fill:#59636e}.plain{font-size:13px}"
        ".code{font-size:12px;font-family:ui-monospace,monospace}"
        ".action{font-size:12px;font-weight:600}.box{fill:#fff;stroke:#8c959f}"
        ".step{fill:#f6f8fa;stroke:#d1d9e0}.arrow{fill:none;stroke:#59636e;stroke-width:1.6}"
        ".back{fill:#fff}")
    about = ("A student's trace is cut into skill-labelled steps; the teacher keeps, compresses, "
             "merges or deletes each; what passes the checks fine-tunes the student.")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(about)}">', f"<style>{style}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#59636e"/></marker>'
        "</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" class="back"/>', *parts, "</svg>", ""])


def main() -> int:
    if "--check" in sys.argv:
        return int(not FILE.is_file() or FILE.read_text("utf-8") != drawn())
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(drawn(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
