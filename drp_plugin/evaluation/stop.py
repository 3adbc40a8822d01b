"""Ending a run that cannot go on: lmms-eval itself swallows exceptions and exits with 0."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator

from drp_plugin.errors import UserError


@contextlib.contextmanager
def loudly() -> Iterator[None]:
    """One line and exit code 2 for the user's mistakes, traceback and 1 for everything else.

    SystemExit passes through lmms-eval's `except Exception`, so the exit code is seen.
    """
    try:
        yield
    except UserError as error:
        print(f"drp: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None
    except Exception as error:
        traceback.print_exc()
        print(f"drp: the run failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
