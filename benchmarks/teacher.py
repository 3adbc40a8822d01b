"""What the teacher pipeline costs beside a bare loop over the same client.

    python benchmarks/teacher.py              5,000 rows live, memory at 1,000 and 100,000 rows
    python benchmarks/teacher.py --rows 1000 --no-memory

A loopback server (a process of its own) answers every chat completion after a fixed latency. The
same rows go through it several times, the ways taking turns: by a bare loop (the `openai`
package's AsyncOpenAI, a worker pool, the reply written to a JSONL file) on each of the package's
two transports, and by the pipeline (ordered runner, adaptive concurrency, retries, durable
ledger, records, summary). Printed are wall time and CPU for a request and peak memory of each,
and the ratios; the figures are the medians of the repetitions. The memory part runs the pipeline
with a teacher in the same process, so that 100,000 rows take a minute and not an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

REPLY = ("Step 1: Tom has 13 apples and Ann has 7 apples, so we add the two counts.\n"
         "Skill: Interpreting a quantity\n") * 16
PROMPT = "Segment the following reasoning into steps, each with one skill. " * 50


# -- the server ------------------------------------------------------------------------------


class Server(asyncio.Protocol):
    """Just enough HTTP to answer POSTs after a fixed latency, on one core's spare time."""

    latency_s = 0.0
    body = json.dumps({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None,
                     "message": {"role": "assistant", "content": REPLY, "refusal": None}}],
        "usage": {"prompt_tokens": 800, "completion_tokens": 600, "total_tokens": 1400}}).encode()

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            size = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            asyncio.get_running_loop().call_later(self.latency_s, self.answer)

    def answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                + str(len(self.body)).encode() + b"\r\n\r\n" + self.body)


async def serve(latency_s: float) -> None:
    Server.latency_s = latency_s
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# -- the two ways ------------------------------------------------------------------------------


async def bare(rows: Path, out: Path, url: str, concurrency: int, *,
               aiohttp: bool = False) -> None:
    """The loop that everybody writes first, with the library's default or aiohttp transport."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    transport = DefaultAioHttpClient() if aiohttp else None
    async with AsyncOpenAI(api_key="none", base_url=url, http_client=transport,
                           timeout=600.0) as client:
        with open(rows) as source, open(out, "w") as target:
            lines = iter(source)

            async def worker() -> None:
                for line in lines:
                    row = json.loads(line)
                    reply = await client.chat.completions.create(
                        model="m", temperature=0.0,
                        messages=[{"role": "user", "content": PROMPT + row["question"]}])
                    row["reply"] = reply.choices[0].message.content
                    target.write(json.dumps(row) + "\n")

            await asyncio.gather(*[worker() for _ in range(concurrency)])


class Local:
    """A teacher without a wire, for the memory part."""

    name = "local:constant"
    identity = {"model": name}  # noqa: RUF012
    connections: tuple[Any, ...] = ()

    async def ask(self, request: Any) -> Any:
        from drp_plugin.llm.messages import Reply
        from drp_plugin.records import Usage

        await asyncio.sleep(0)
        return Reply(text=REPLY, usage=Usage(requests=1, prompt_tokens=800, completion_tokens=600))


async def pipeline(rows: Path, out: Path, url: str, concurrency: int) -> None:
    """The same, by the runner that `drp prune` uses."""
    from drp_plugin.llm.ledger import Ledger
    from drp_plugin.llm.ledger_client import LedgerClient
    from drp_plugin.llm.messages import Ask, Message, Request
    from drp_plugin.progress import Display
    from drp_plugin.reading import traces
    from drp_plugin.records import Pruned, Trace
    from drp_plugin.run_dir import LEDGER
    from drp_plugin.runner.job import Job, run_live
    from drp_plugin.runner.outputs import prepare
    from drp_plugin.teachers.registry import make_teacher

    teacher: Any = (make_teacher("openai:m", base_url=url, concurrency=concurrency)
                    if url else Local())

    async def flow(row: Trace, ask: Ask) -> Pruned:
        reply = await ask(Request(messages=(
            Message(role="user", content=PROMPT + row.question),), tag="bench"))
        return Pruned(id=row.id, question=row.question, original=row.response,
                      response=reply.text, tokens_before=1, tokens_after=1, teacher=teacher.name,
                      prompts_hash="", usage=reply.usage)

    prepare(out)
    job = Job(rows=lambda: traces(rows), flow=flow, run_dir=out, settings={"command": "bench"})
    with Ledger(out / LEDGER) as ledger, Display("bench", None) as display:
        client = LedgerClient(teacher, ledger)
        tally = await run_live(job, client, active=concurrency, display=display)
    assert tally.pruned == tally.rows == client.asked, tally.line()
    if url:
        await teacher.close()


def measure(what: Coroutine[Any, Any, None]) -> dict[str, float]:
    """Wall, CPU of this process, and its peak memory."""
    begun, cpu = time.perf_counter(), time.process_time()
    asyncio.run(what)
    return {"wall": time.perf_counter() - begun, "cpu": time.process_time() - cpu,
            "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


# -- driving them ----------------------------------------------------------------------------


def write_rows(path: Path, count: int) -> Path:
    with open(path, "w") as file:
        for n in range(count):
            file.write(json.dumps({
                "id": f"row-{n}", "question": f"Tom has {n} apples and Ann has {n + 7}. How many?",
                "response": "<think>\n" + f"Let me add {n} and {n + 7}. " * 40
                            + f"\n</think>\n\n{2 * n + 7}"}) + "\n")
    return path


def child(way: str, rows: Path, out: Path, url: str, concurrency: int) -> dict[str, float]:
    """One way in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", way, str(rows), str(out), url, str(concurrency)],
        stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, "OPENAI_API_KEY": "none"})
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def live_part(folder: Path, rows: int, latency_s: float, concurrency: int,
              repeats: int) -> Iterator[str]:
    data = write_rows(folder / "rows.jsonl", rows)
    server = subprocess.Popen([sys.executable, __file__, "--serve", str(latency_s)],
                              stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        runs: dict[str, list[dict[str, float]]] = {"bare": [], "aiohttp": [], "pipeline": []}
        for n in range(repeats):
            for way in runs:
                runs[way].append(child(way, data, folder / f"{way}-{n}", url, concurrency))
    finally:
        server.kill()
        server.wait()
    middle = {way: {k: statistics.median(r[k] for r in got) for k in got[0]}
              for way, got in runs.items()}
    yield (f"{rows:,} rows, latency {latency_s:g} s, {concurrency} at once, "
           f"median of {repeats} (ideal wall: {rows * latency_s / concurrency:.1f} s)")
    yield f"{'':<22}{'wall':>9}{'CPU':>9}{'wall/req':>11}{'CPU/req':>11}{'peak':>9}"
    for way, name in (("bare", "bare AsyncOpenAI"), ("aiohttp", "bare, aiohttp"),
                      ("pipeline", "drp, ledger durable")):
        m = middle[way]
        yield (f"{name:<22}{m['wall']:>7.1f} s{m['cpu']:>7.1f} s"
               f"{1000 * m['wall'] / rows:>8.2f} ms{1000 * m['cpu'] / rows:>8.2f} ms"
               f"{m['mb']:>6.0f} MB")
    for way, name in (("bare", "drp / bare"), ("aiohttp", "drp / bare, aiohttp")):
        ratios = {k: middle["pipeline"][k] / middle[way][k] for k in ("wall", "cpu", "mb")}
        yield (f"{name:<22}{ratios['wall']:>8.2f}×{ratios['cpu']:>8.2f}×{'':>22}"
               f"{ratios['mb']:>7.2f}×{'   (bound: 1.3×)' if way == 'bare' else ''}")
    spread = [f"{p['cpu'] / b['cpu']:.2f}"
              for b, p in zip(runs["bare"], runs["pipeline"], strict=True)]
    yield f"CPU ratio by repetition: {', '.join(spread)}"


def memory_part(folder: Path, counts: list[int]) -> Iterator[str]:
    peaks = []
    for count in counts:
        data = write_rows(folder / f"rows-{count}.jsonl", count)
        m = child("pipeline", data, folder / f"memory-{count}", "", 64)
        peaks.append(m["mb"])
        yield (f"{count:>9,} rows: peak {m['mb']:.0f} MB, CPU {1000 * m['cpu'] / count:.2f} ms "
               f"a row (no wire)")
    yield f"memory {counts[0]:,} → {counts[-1]:,} rows: {peaks[-1] / peaks[0]:.2f}×"


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(float(sys.argv[2])))
        return
    if sys.argv[1:2] == ["--child"]:
        way, rows, out, url, concurrency = sys.argv[2:]
        given = Path(rows), Path(out), url, int(concurrency)
        what = pipeline(*given) if way == "pipeline" else bare(*given, aiohttp=way == "aiohttp")
        print(json.dumps(measure(what)))
        return
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--latency", type=float, default=0.25)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drp-bench-") as name:
        folder = Path(name)
        for line in live_part(folder, given.rows, given.latency, given.concurrency,
                              given.repeats):
            print(line, flush=True)
        if given.memory:
            for line in memory_part(folder, [1000, 100_000]):
                print(line, flush=True)


if __name__ == "__main__":
    main()
