"""The page of `drp inspect`: size, and time until its list can be used, in a real Chromium.

10,000 generated rows, and the real traces where DRP_TEST_DATA or ../shared/data holds them, pruned
by the offline teacher. The time is from the call to the list being there; the first search goes
through all texts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from chromium import browser, chromium  # noqa: E402
from toy_run import write_run  # noqa: E402

TRACES = "traces_math_train_r1distill.jsonl"


def measure(name: str, run: Path) -> None:
    """Write the page of a run, open it, look for a text that no row holds."""
    drp = [sys.executable, "-m", "drp_plugin"]
    begun = time.monotonic()
    subprocess.run([*drp, "inspect", str(run), "-o", str(run / "page.html")], check=True,
                   capture_output=True, cwd=ROOT)
    wrote, size = time.monotonic() - begun, (run / "page.html").stat().st_size
    files = [run / "pruned.jsonl", run / "rejects.jsonl"]
    rows = sum(file.read_bytes().count(b"\n") for file in files)
    before = sum(file.stat().st_size for file in files)
    print(f"{name}: {rows:,} rows of {before / 1e6:.1f} MB, page {size / 1e6:.1f} MB, "
          f"written in {wrote:.1f} s", flush=True)
    if browser() is None:
        print("  no Chromium here: not opened")
        return
    with chromium() as page:
        page.open("about:blank")
        begun = time.monotonic()
        page.open((run / "page.html").as_uri())
        page.wait("document.body.dataset.ready")
        ready = time.monotonic() - begun
        begun = time.monotonic()
        page.do("$('search').value = 'no such words'; $('search').oninput()")
        page.wait("$('status').textContent === 'No row matches.'")
        print(f"  list there after {ready:.1f} s; all texts searched in "
              f"{time.monotonic() - begun:.1f} s; console: {page.complaints or 'silent'}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        toys = Path(folder) / "toys"
        write_run(toys, int(os.environ.get("DRP_BENCH_ROWS", "10000")))
        measure("generated", toys)
        given = os.environ.get("DRP_TEST_DATA")
        traces = (Path(given) if given else ROOT.parent / "shared" / "data") / TRACES
        if not traces.exists():
            print(f"real traces: no {TRACES} here")
            return
        real = Path(folder) / "real"
        subprocess.run([sys.executable, "-m", "drp_plugin", "prune", str(traces), "-o", str(real),
                        "--teacher", "offline", "--decompose", "indexed"], check=True,
                       capture_output=True, cwd=ROOT)
        measure("real", real)


if __name__ == "__main__":
    main()
