"""The three ways from `drp generate` to vLLM, on the embedded student: speed, answers, kills.

    python benchmarks/generation.py [--questions 200] [--repeats 3] [-o FILE]

Runs with the interpreter that has vLLM: this one, or .venv-vllm's. First the sampler and vLLM's own
offline loop (`LLM.generate`) draw the same prompts in turn, in one process, and the least time of
each counts. Then `drp generate` draws greedily in process, from two servers and on Ray. Of the
servers one is killed on the way, and of Ray's workers too. Every question must have its trace, and
the texts are compared with those of the first way.

Exit code 1 where a trace is lost, or where the sampler takes over a twentieth longer than the loop.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

LEVELS = "steps2+steps3+steps4"
LONGEST = 768
CONTEXT = 2048
STARTS_S = 600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    if importlib.util.find_spec("vllm") is None:
        beside = Path(__file__).parents[1] / ".venv-vllm" / "bin" / "python"
        if not beside.exists():
            print("no vLLM here: see `make setup`")
            return 0
        os.execv(beside, [str(beside), *sys.argv])
    # several engines share the cores: threads that wait for one another would stand still
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                   "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if given.in_process:
        print("SEEN " + json.dumps(loops(given.questions, given.repeats)))
        return 0
    speed = in_process(given.questions, given.repeats)
    print(f"{given.questions} prompts: LLM.generate {speed['loop_s']:.1f} s, the sampler "
          f"{speed['sampler_s']:.1f} s: {speed['ratio']:.2f}×", flush=True)
    with tempfile.TemporaryDirectory() as work:
        seen = ways(Path(work), given.questions)
    if given.output:
        given.output.write_text(json.dumps({"speed": speed, "ways": seen}, indent=1) + "\n")
    return int(speed["ratio"] > 1.05 or any(way["lost"] for way in seen.values()))


def student() -> str:
    from drp_plugin.student import model_path

    return str(model_path())


def in_process(questions: int, repeats: int) -> dict[str, float]:
    """What `loops` saw, in a process of its own: Ray must not inherit an engine."""
    done = subprocess.run([sys.executable, __file__, "--in-process", "--questions", str(questions),
                           "--repeats", str(repeats)], stdout=subprocess.PIPE, text=True)
    line = next((x for x in done.stdout.splitlines() if x.startswith("SEEN ")), None)
    if line is None:
        sys.exit(done.stdout)
    found: dict[str, float] = json.loads(line.removeprefix("SEEN "))
    return found


def loops(questions: int, repeats: int) -> dict[str, float]:
    """Seconds of vLLM's offline loop and of the sampler, in turn, on engines that are warm."""
    from drp_plugin.sampling.questions import load
    from drp_plugin.sampling.vllm_engine import VLLMSampler

    sampler = VLLMSampler(student(), max_model_len=CONTEXT, enable_prefix_caching=False)
    from vllm import LLM, SamplingParams

    engine = LLM(**sampler.arguments)
    requests = [made(row.question) for row in load(f"tiny:eval:{LEVELS}:{questions}")]
    prompts = [{"prompt_token_ids": sampler.chat.encode(r.messages)} for r in requests]
    settings = SamplingParams(temperature=0, max_tokens=LONGEST)

    def loop() -> None:
        assert len(engine.generate(prompts, settings, use_tqdm=False)) == questions

    def own() -> None:
        assert len(dict(sampler.sample(requests))) == questions

    for warm in (loop, own):
        warm()
    least = {loop: float("inf"), own: float("inf")}
    for _ in range(repeats):
        for run in least:
            start = time.process_time()
            run()
            least[run] = min(least[run], time.process_time() - start)
    return {"loop_s": least[loop], "sampler_s": least[own], "ratio": least[own] / least[loop]}


def made(question: str) -> Any:
    from drp_plugin.llm.messages import Message
    from drp_plugin.sampling.completions import SampleRequest

    return SampleRequest(messages=(Message(role="user", content=question),), temperature=0,
                         max_new_tokens=LONGEST)


def ways(work: Path, questions: int) -> dict[str, Any]:
    """Each way's traces beside those of the first."""
    seen: dict[str, Any] = {}
    first: dict[str, str] = {}
    for name, run in (("in process", alone), ("two servers, one killed", servers),
                      ("Ray, two workers, one killed", on_ray)):
        out = work / f"{len(seen)}.jsonl"
        run(out, questions)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        texts = {row["id"]: row["response"] for row in rows}
        first = first or texts
        seen[name] = {"lost": questions - len(texts),
                      "same": sum(texts.get(key) == text for key, text in first.items())}
        print(f"{name}: {len(texts)} of {questions} traces, {seen[name]['same']} the same as in "
              "process", flush=True)
    return seen


def generate(out: Path, questions: int, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([
        sys.executable, "-P", "-m", "drp_plugin", "generate", f"tiny:eval:{LEVELS}:{questions}",
        "-o", str(out), "--temperature", "0", "--max-new-tokens", str(LONGEST), *more],
        stdout=subprocess.DEVNULL)


def finish(process: subprocess.Popen[bytes]) -> None:
    if code := process.wait():
        sys.exit(f"drp generate ended with {code}")


def begun(out: Path, process: subprocess.Popen[bytes], traces: int) -> None:
    """Wait until so many traces are stored."""
    ledger = out.with_name(out.name + ".ledger.sqlite")
    while process.poll() is None:
        try:
            with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as found:
                if found.execute("SELECT COUNT(*) FROM replies").fetchone()[0] >= traces:
                    return
        except sqlite3.Error:
            pass
        time.sleep(0.05)
    sys.exit("drp generate ended before the kill")


def alone(out: Path, questions: int) -> None:
    finish(generate(out, questions, "--model", student(), "--backend", "vllm",
                    "--engine-arg", f"max_model_len={CONTEXT}"))


def servers(out: Path, questions: int) -> None:
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    started = [subprocess.Popen([
        sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server", "--model", student(),
        "--port", str(port), "--dtype", "float32", "--enforce-eager", "--max-model-len",
        str(CONTEXT), "--max-num-seqs", "32"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True) for port in ports]
    try:
        for port, server in zip(ports, started, strict=True):
            wait_for(port, server)
        process = generate(out, questions, *(x for port in ports for x in
                                             ("--base-url", f"http://127.0.0.1:{port}/v1")))
        begun(out, process, questions // 5)
        os.killpg(started[0].pid, signal.SIGKILL)
        finish(process)
    finally:
        for server in started:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return
        except OSError:
            time.sleep(0.5)
    sys.exit("a vLLM server did not start")


def on_ray(out: Path, questions: int) -> None:
    process = generate(out, questions, "--model", student(), "--backend", "ray", *(
        x for setting in ("engine=vllm", "gpus=0", "workers=2", "block=10", "local=true",
                          f"max_model_len={CONTEXT}") for x in ("--engine-arg", setting)))
    begun(out, process, questions // 5)
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
    workers = [int(line.split()[0]) for line in listed.splitlines() if "ray::" in line
               and "MapWorker" in line]
    if not workers:
        sys.exit("no worker of Ray was found to be killed")
    os.kill(workers[0], signal.SIGKILL)
    finish(process)


if __name__ == "__main__":
    sys.exit(main())
