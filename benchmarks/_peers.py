"""`make bench-peers`: the teacher pipeline beside a bare loop, curator and distilabel.

    python benchmarks/_peers.py --rows 1000 --latency 0.25 --concurrency 64

The loopback server of `benchmarks/teacher.py` answers every chat completion after a fixed latency.
Each way runs in processes of its own, the libraries in the environments that `scripts/peers.sh`
makes, with their caches in a fresh folder. Printed are wall time, CPU and peak memory of each, all
its processes together (memory: the largest one), and the ratios to the bare loop. What cannot be
installed or run here is left out with its reason.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from teacher import PROMPT, write_rows

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv-peers"
WAYS = {"bare": None, "pipeline": None, "curator": "bespokelabs-curator",
        "distilabel": "distilabel"}


def curator(prompts: list[str], url: str, concurrency: int, out: Path) -> list[Any]:
    from bespokelabs import curator as library

    llm = library.LLM(model_name="m", backend="openai", backend_params={
        "base_url": url, "max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10,
        "max_concurrent_requests": concurrency})
    found = llm(prompts, working_dir=str(out))
    return list(getattr(found, "dataset", found))


def distilabel(prompts: list[str], url: str, concurrency: int, out: Path) -> list[Any]:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with Pipeline(cache_dir=str(out)) as pipeline:
        rows = LoadDataFromDicts(data=[{"instruction": text} for text in prompts],
                                 batch_size=concurrency)
        asked = TextGeneration(llm=OpenAILLM(model="m", base_url=url, api_key="none"),
                               input_batch_size=concurrency)
        rows >> asked
    return list(pipeline.run(use_cache=False)["default"]["train"])


def child(way: str, rows: str, out: str, url: str, concurrency: str) -> None:
    prompts = [PROMPT + json.loads(line)["question"]
               for line in Path(rows).read_text().splitlines()]
    Path(out).mkdir()
    found = {"curator": curator, "distilabel": distilabel}[way](
        prompts, url, int(concurrency), Path(out))
    assert len(found) == len(prompts), f"{len(found)} of {len(prompts)} replies"


def run(way: str, rows: Path, out: Path, url: str, concurrency: int) -> dict[str, float] | str:
    """Its figures, or why there are none."""
    peer, script = WAYS[way], HERE / ("_peers.py" if WAYS[way] else "teacher.py")
    python = PEERS / peer / "bin" / "python" if peer else Path(sys.executable)
    if peer and not (PEERS / peer / ".ready").exists():
        return "not installed here"
    env = {**os.environ, "OPENAI_API_KEY": "none", "TELEMETRY_ENABLED": "false",
           "CURATOR_DISABLE_RICH_DISPLAY": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": "",
           "HF_HOME": str(out.parent / "hf")}
    if not peer:
        env["PYTHONPATH"] = str(HERE.parent)
    # tiktoken's file, which a dependency of curator carries: nothing is fetched while it runs
    for cache in (PEERS / str(peer)).glob("lib/*/site-packages/litellm/**/tokenizers"):
        env["TIKTOKEN_CACHE_DIR"] = str(cache)
    begun = time.perf_counter()
    with open(f"{out}.log", "w+") as log:
        process = subprocess.Popen([python, script, "--child", way, rows, out, url,
                                    str(concurrency)], stdout=log, stderr=log, env=env)
        _, status, used = os.wait4(process.pid, 0)
        log.seek(0)
        said = log.read().strip().splitlines()
    if status:
        return f"failed: {said[-1][:300] if said else status}"
    return {"wall": time.perf_counter() - begun, "cpu": used.ru_utime + used.ru_stime,
            "mb": used.ru_maxrss / 1024}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0.25)
    parser.add_argument("--concurrency", type=int, default=64)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drp-peers-") as name:
        folder = Path(name)
        rows = write_rows(folder / "rows.jsonl", given.rows)
        server = subprocess.Popen([sys.executable, HERE / "teacher.py", "--serve",
                                   str(given.latency)], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
            found = {way: run(way, rows, folder / way, url, given.concurrency) for way in WAYS}
        finally:
            server.kill()
            server.wait()
    print(f"{given.rows:,} rows, latency {given.latency:g} s, {given.concurrency} at once, starts "
          "of the processes included")
    bare = found["bare"]
    for way, got in found.items():
        if isinstance(got, str):
            print(f"{way:12}{got}")
            continue
        print(f"{way:12}{got['wall']:>8.1f} s{got['cpu']:>8.1f} s CPU{got['mb']:>8.0f} MB"
              + ("" if isinstance(bare, str) else "".join(
                  f"{got[k] / bare[k]:>8.2f}×" for k in ("wall", "cpu", "mb"))))


if __name__ == "__main__":
    main()
