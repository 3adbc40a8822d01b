"""Screenshots of the two pages, in docs/images: `python scripts/screenshots.py`.

Of generated rows alone. The run is the offline teacher's; the report's completions are made up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from chromium import Page, chromium  # noqa: E402
from PIL import Image  # noqa: E402
from toy_run import traces  # noqa: E402

from drp_plugin import jsonl  # noqa: E402

#: Name, width, height, dark.
LOOKS = (("wide-light", 1400, 900, False), ("wide-dark", 1400, 900, True),
         ("phone-light", 420, 840, False), ("phone-dark", 420, 840, True))


def drp(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "drp_plugin", *map(str, arguments)], check=True, cwd=ROOT,
                   stdout=subprocess.DEVNULL)


def inspector(folder: Path) -> Path:
    """The page of 60 rows."""
    jsonl.write(folder / "traces.jsonl", traces(60, seed=3))
    drp("prune", folder / "traces.jsonl", "-o", folder / "toy-run", "--teacher", "offline",
        "--tokenizer", "student")
    drp("inspect", folder / "toy-run", "-o", folder / "inspect.html")
    return folder / "inspect.html"


def report(folder: Path) -> Path:
    """A report of two made-up evaluations of 60 problems."""
    runs = []
    for method, cut, wrong in (("Base", 1.0, 9), ("DRP", 0.55, 7)):
        samples = list(_samples(cut, wrong))
        place = folder / method / "model"
        jsonl.write(place / "20260101_000000_samples_drp_gsm8k.jsonl", samples)
        (place / "20260101_000000_results.json").write_text(json.dumps({
            "results": {"drp_gsm8k": {}}, "config": {"model": "drp_hf", "model_args": method},
            "n-samples": {"drp_gsm8k": {"original": len(samples), "effective": len(samples)}},
            "configs": {"drp_gsm8k": {"num_fewshot": 0, "repeats": 1, "generation_kwargs": {
                "temperature": 0, "do_sample": False, "max_new_tokens": 131072}}}}))
        runs.append(f"{method}={place.parent}")
    drp("report", *runs, "-o", folder / "report", "--tokenizer", "student")
    return folder / "report" / "report.html"


def _samples(cut: float, wrong: int) -> Iterator[dict[str, object]]:
    for number, trace in enumerate(traces(60, seed=5, turns=3)):
        thinking, _, answer = str(trace["response"]).partition("</think>")
        thinking = thinking[:int(len(thinking) * cut)].rpartition("\n\n")[0]
        gold = "0" if number % wrong == 3 else str(trace["answer"])
        yield {"doc_id": number, "target": gold, "input": trace["question"],
               "doc_hash": f"{number:064d}", "token_counts": [None],
               "filtered_resps": f"{thinking}\n</think>{answer}",
               "doc": {"question": trace["question"], "answer": gold}}


def shot(page: Page, file: Path) -> None:
    """A screenshot in few colours, a third of the size."""
    page.screenshot(file)
    with Image.open(file) as image:
        image.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(file, optimize=True)


def row(page: Page) -> None:
    """Open a row with a fraction in its question."""
    page.wait("document.body.dataset.ready")
    page.do("open(run.rows.findIndex(line => line[2].includes('spinner')))")
    page.wait("document.querySelector('.step')")


def main() -> None:
    images = ROOT / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as page:
        run, evaluation = inspector(Path(folder)), report(Path(folder))
        for name, width, height, dark in LOOKS:
            page.open(run.as_uri(), width=width, height=height, dark=dark)
            page.wait("document.body.dataset.ready")
            if name == "wide-light":
                shot(page, images / "inspect-overview.png")
            row(page)
            shot(page, images / f"inspect-{name}.png")
            page.open(evaluation.as_uri(), width=width, height=height, dark=dark)
            shot(page, images / f"report-{name}.png")
        if page.complaints:
            sys.exit(f"the console says: {page.complaints}")


if __name__ == "__main__":
    main()
