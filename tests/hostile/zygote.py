"""Runs `drp …` again and again in forked children of one process, which has imported it once.

Each line that comes in is a case in JSON; its exit status goes out when the child has ended. A
child has the limits of its case, and is killed with all that it started when its time is up.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from typing import Any


def child(case: dict[str, Any]) -> None:
    """Become the command; never returns. Where the case says so, its process id is written to the
    file `pid`, no file of it may grow over `file` bytes, and at the n-th file that it completes it
    is sent a signal (`strike`: n and signal; a stopped one goes on after 0.2 s)."""
    os.setsid()
    os.chdir(case["cwd"])
    os.umask(0o022)
    os.environ.clear()
    os.environ.update(case["env"])
    for number, name, flags in ((0, case["stdin"], os.O_RDONLY),
                                (1, case["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
                                (2, case["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
        os.dup2(os.open(name, flags, 0o600), number)
    for kind, most in ((resource.RLIMIT_AS, case["memory"]), (resource.RLIMIT_CORE, 0),
                       (resource.RLIMIT_FSIZE, case.get("file", resource.RLIM_INFINITY))):
        resource.setrlimit(kind, (most, most))
    sys.dont_write_bytecode = "file" in case  # the limit would cut compiled modules, for good
    if "pid" in case:
        with open(case["pid"], "w") as file:
            file.write(str(os.getpid()))
    if "strike" in case:
        strike(*case["strike"])
    code = 70
    try:
        from drp_plugin.cli import main

        main(case["args"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
            atexit._run_exitfuncs()
        os._exit(code)


def strike(left: int, how: int) -> None:
    """Send this process a signal at its n-th `os.fsync`, which ends each file that it writes."""
    sync = os.fsync

    def struck(number: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            if how == signal.SIGSTOP:
                subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -CONT {os.getpid()}"])
            os.kill(os.getpid(), how)
        sync(number)

    os.fsync = struck


def wait(pid: int, seconds: float) -> int | None:
    """The child's exit code; None where it had to be killed."""
    until = time.monotonic() + seconds
    pause = 0.002
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(pause)
        pause = min(0.05, pause * 1.3)
    else:
        code = None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if code is None:
        os.waitpid(pid, 0)
    return code


def serve() -> None:
    import importlib

    import click

    from drp_plugin.cli import COMMANDS, group

    for name in COMMANDS:
        group.get_command(click.Context(group), name)
    for name in ("huggingface_hub.file_download", "openai.types.chat", "rich.table",
                 "drp_plugin.llm.openai_client", "drp_plugin.training.sft_set",
                 "drp_plugin.training.workspace", "drp_plugin.report.write",
                 "drp_plugin.teachers.offline"):
        importlib.import_module(name)

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under `nohup` it is ignored, by children too
    out = os.fdopen(os.dup(1), "w")
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        pid = os.fork()
        if not pid:
            child(case)
        print(json.dumps(wait(pid, case["seconds"])), file=out, flush=True)


if __name__ == "__main__":
    serve()
