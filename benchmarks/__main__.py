"""`make bench`: every benchmark, or those named: `python -m benchmarks teacher modes`.

Each prints ratios that were measured side by side in one run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run them one after the other; the exit code is that of the worst."""
    known = sorted(f.stem for f in HERE.glob("*.py") if not f.stem.startswith("_"))
    wanted = sys.argv[1:] or known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    worst = 0
    for name in wanted:
        print(f"== {name}", flush=True)
        worst = max(worst, subprocess.run([sys.executable, str(HERE / f"{name}.py")]).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
