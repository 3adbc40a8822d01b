"""What `drp prune` and `drp_plugin.prune` run: traces, who prunes them, a run directory."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from drp_plugin import __version__, jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.addresses import find_base_url
from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.llm.messages import Teacher
from drp_plugin.methods import Given, Method, is_method, make
from drp_plugin.prompts import Prompts
from drp_plugin.pruning.dialogue import PruneOptions
from drp_plugin.pruning.flow import prune_trace, prune_with_teacher
from drp_plugin.reading import traces
from drp_plugin.records import Pruned, Reject, Trace
from drp_plugin.run_dir import PRUNED, REJECTS, SUMMARY
from drp_plugin.runner.job import Job, Rows, RunOptions, check_input
from drp_plugin.runner.outputs import prepare
from drp_plugin.runner.session import run_session
from drp_plugin.teachers.registry import TeacherSettings
from drp_plugin.tokens import QWEN, TokenCounter


def method_of(settings: TeacherSettings, rows: Rows, options: PruneOptions, counter: TokenCounter,
              teacher: Teacher | None = None) -> tuple[Method, PruneOptions]:
    """The method that `settings.teacher` names (a teacher, or its name, stands for the paper's),
    and the options with the name that it has in the results. Raises UserError."""
    if teacher is None and is_method(settings.teacher):
        method = make(settings.teacher, Given(rows, options, counter.count, settings.base_urls,
                                              settings.engine))
    else:
        way = options.decompose
        prompts = {"indexed": ["indexed"], "sentence": ["revise"]}.get(
            way, [f"decompose_{way}", "revise"]) + ["repair"] * bool(options.repairs)
        method = Method(prune_with_teacher, teacher or settings.make(), tuple(prompts))
    return method, options.model_copy(update={"teacher": method.asks.name})


def prune_job(rows: Rows, run_dir: Path, method: Method, options: PruneOptions, prompts: Prompts,
              counter: TokenCounter, *, total: int | None, **recorded: Any) -> Job:
    """The run; what is `recorded` of it beside the options must be the same when it goes on."""
    async def flow(trace: Trace, client: RowClient) -> Pruned | Reject:
        return await prune_trace(trace, client, options, prompts=prompts, count=counter.count,
                                 prune=method.prune)

    return Job(rows=rows, flow=flow, run_dir=run_dir, total=total, settings={
        "command": "prune", "version": __version__, **recorded, "tokenizer": counter.name,
        "prompts_hash": prompts.hash, **options.model_dump(mode="json")})


class PruneRun(NamedTuple):
    """A finished run, whose rows are read from its folder when they are asked for."""

    folder: Path
    summary: dict[str, Any]  # As in `summary.json`: rows, reasons, tokens, requests, cost

    def pruned(self) -> Iterator[Pruned]:
        """The rows that became shorter, in the order of the input."""
        return jsonl.read(self.folder / PRUNED, Pruned)

    def rejects(self) -> Iterator[Reject]:
        """The other rows, each with its reason."""
        return jsonl.read(self.folder / REJECTS, Reject)


def prune(rows: str | Path | Iterable[Trace | Reject], run_dir: str | Path,
          teacher: str | Teacher = "offline", options: PruneOptions | None = None, *,
          base_url: str | None = None, prompts_dir: str | Path | None = None,
          tokenizer: str = QWEN, concurrency: int = 64, max_cost_usd: float | None = None,
          anew: bool = False) -> PruneRun:
    """Prune traces as `drp prune` does: a file of them, or rows with ids of their own. `teacher` is
    what `--teacher` takes, or a `Teacher` of your own. Every reply is kept in `run_dir`: the same
    call after an interruption asks nothing twice. Works in notebooks. Raises UserError."""
    given = rows if isinstance(rows, str | Path) else list(rows)
    if isinstance(given, list) and len({row.id for row in given}) < len(given):
        raise UserError("prune: several rows have the same id", fix="Give each one its own")
    if not isinstance(given, list):
        check_input([str(given)])
    prompts = Prompts(None if prompts_dir is None else Path(prompts_dir))
    counter, options = TokenCounter.load(tokenizer, exact=False), options or PruneOptions()
    own = None if isinstance(teacher, str) else teacher
    name = teacher if isinstance(teacher, str) else teacher.name
    url = find_base_url(name, base_url)
    settings = TeacherSettings(name, (url,) if url else (), options.sampling, concurrency)

    def again() -> Iterator[Trace | Reject]:
        return iter(given) if isinstance(given, list) else traces(given)

    method, options = method_of(settings, again, options, counter, own)
    prompts.check(method.prompts)
    folder = Path(run_dir)
    prepare(folder)
    job = prune_job(again, folder, method, options, prompts, counter, base_url=settings.endpoint,
                    total=len(given) if isinstance(given, list) else None)
    run = RunOptions(max_cost_usd=max_cost_usd, anew=anew)
    _to_its_end(lambda: run_session(job, method.asks, settings, run))
    return PruneRun(folder, json.loads((folder / SUMMARY).read_text("utf-8")))


def _to_its_end(begin: Callable[[], Any]) -> None:
    """Run a coroutine; beside a notebook's event loop, which is busy, in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(begin())
        return
    stops: list[Callable[[], Any]] = []

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        stops.append(lambda: loop.call_soon_threadsafe(task.cancel))
        await begin()

    with ThreadPoolExecutor(1) as apart:  # left when the thread has ended
        done = apart.submit(asyncio.run, main())
        try:
            done.result()
        except KeyboardInterrupt:
            for stop in stops:
                stop()
            raise
