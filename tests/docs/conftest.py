"""What the tests of the pages take from other tests: servers, folders, small models."""

from __future__ import annotations

import sys

from checkout import ROOT

sys.path[:0] = [str(ROOT / "tests" / name) for name in ("wire", "training")]
