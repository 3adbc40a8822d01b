"""A run from its settings to its last line on stderr; that of `drp prune`, also for scripts."""

import asyncio
import json
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from drp_plugin import __version__, jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.addresses import find_base_url
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.ledger_client import LedgerClient, RowClient, from_value
from drp_plugin.llm.messages import Teacher
from drp_plugin.llm.prices import Budget, Price
from drp_plugin.methods import Given, Method, is_method, make
from drp_plugin.progress import Display
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.pruning.flow import prune_trace, prune_with_teacher
from drp_plugin.reading import Reader, read
from drp_plugin.records import Pruned, Reject, Trace
from drp_plugin.run_dir import PRUNED, REJECTS, SUMMARY
from drp_plugin.runner.batch import BatchRun
from drp_plugin.runner.batch_files import NOTE, hold
from drp_plugin.runner.forecast import Forecast, described, make_forecast
from drp_plugin.runner.job import Job, Rows, RunOptions, check_input, run_live, terminable
from drp_plugin.runner.outputs import Tally, check_rows, ledger_of, settle
from drp_plugin.teachers.registry import TeacherSettings
from drp_plugin.terminal import phrase, say
from drp_plugin.tokens import QWEN, TokenCounter

STOPPED = 3  # Exit code of a run that --max-cost stopped: it has results for a part of the rows
NOTHING = 2  # Exit code of a run in which not a single row came through


async def run_session(job: Job, teacher: Teacher, settings: TeacherSettings,
                      run: RunOptions | None = None) -> Tally | Forecast:
    """Run a job to its end, or forecast it. Raises UserError."""
    run = run or RunOptions()
    try:
        with ledger_of(job.run_dir) as ledger:
            price = settings.find_price(teacher)
            _check_budget(teacher, price, settings, run)
            if price is not None and price.ends and price.ends <= date.today():
                say(f"{teacher.name}: {price.remark}")
            with terminable():
                return await _run(job, teacher, settings, run, price, ledger)
    finally:
        await teacher.close()


async def _run(job: Job, teacher: Teacher, settings: TeacherSettings, run: RunOptions,
               price: Price | None, ledger: Ledger) -> Tally | Forecast:
    if ledger.shared is False:
        say(f"{job.run_dir}: this network disk has no locks between machines: use it from one "
            "machine at a time")
    if run.pilot is None and not run.anew and job.settings.get("limit") is None:
        check_rows(job.run_dir, job.rows)
    # settings without any reply or result may change
    begun = bool(len(ledger)) or (job.run_dir / PRUNED).exists()
    changes = settle(job.run_dir, job.settings, anew=run.anew or not begun)
    if changes and begun:
        say(f"{job.run_dir}: continuing with changed settings: {'; '.join(changes)}")
        (job.run_dir / SUMMARY).unlink(missing_ok=True)
    budget = None if price is None or run.max_cost_usd is None else \
        Budget(run.max_cost_usd, price, _spent(job, ledger, price))
    client = LedgerClient(teacher, ledger, price=price, budget=budget,
                          replay=run.batch and run.pilot is None)
    with Display(str(job.settings["command"]), run.pilot or job.total,
                 status=client.status) as display:
        if not run.batch and ledger.notes(NOTE):
            try:
                api = teacher.batch()
            except UserError:
                pass  # it has none: the batches are another teacher's
            else:
                await BatchRun(job, client, api, display=display).collect(leave=run.anew)
        if not client.replay:
            hold(ledger, job.run_dir, shared=True)
        if run.pilot is not None:
            return await make_forecast(job, client, rows=run.pilot, active=settings.active,
                                       display=display)
        if run.batch:
            tally = await BatchRun(job, client, teacher.batch(), display=display,
                                   poll_s=run.poll_s, batch_size=run.batch_size).run()
        else:
            tally = await run_live(job, client, active=settings.active, display=display)
    if client.uncounted and price is not None and price.paid:
        say("there are replies without usage: their cost is unknown"
            + ("" if budget is None else ", and --max-cost counts the highest possible"))
    report(job, tally, budget)
    return tally


def _check_budget(teacher: Teacher, price: Price | None, settings: TeacherSettings,
                  run: RunOptions) -> None:
    """Raises UserError if the budget cannot be kept, or is too small for even an empty prompt."""
    if run.max_cost_usd is None:
        return
    if not 0 < run.max_cost_usd < math.inf:
        raise UserError(f"--max-cost {run.max_cost_usd}: not a sum of money",
                        fix="Give it in USD, or leave it out")
    if price is None:
        raise UserError(f"--max-cost: no price is known for {teacher.name}",
                        fix="Give --price IN,OUT (USD for a million tokens)")
    budget = Budget(run.max_cost_usd, price)
    least = budget.at_most(0, settings.sampling.max_tokens)
    least *= price.batch if run.batch and run.pilot is None else 1.0
    if least > run.max_cost_usd:
        tokens = settings.sampling.max_tokens or budget.output_limit
        raise UserError(phrase("too_little", tokens, limit=run.max_cost_usd, least=least),
            fix="Bound the reply by a lower --max-tokens, or give a higher --max-cost")


def _spent(job: Job, ledger: Ledger, price: Price) -> float:
    """What the run's replies cost; those stored without a price at the current one."""
    spent, unknown = ledger.totals().cost_usd or 0.0, 0
    for tag, value in ledger.unpriced():
        cost = price.bill(from_value(value).usage, batch=tag == "batch")
        cost = value.get("most_usd") if cost is None else cost
        spent += cost or 0.0
        unknown += cost is None
    if unknown:
        raise UserError(phrase("uncounted", unknown), file=job.run_dir,
                        fix="Leave it out, or give another -o")
    return spent


def report(job: Job, tally: Tally, budget: Budget | None = None) -> None:
    """The run's last lines. Raises RuntimeError if a row was lost, which must never happen."""
    say(f"{job.run_dir}: {tally.line()}")
    if not tally.balanced:
        raise RuntimeError(phrase("stopped_rows", tally.rows, pruned=tally.pruned,
                                  rejected=tally.rejected))
    if tally.reasons["internal_error"]:
        say(phrase("internal", tally.reasons["internal_error"]))
    if tally.reasons["request_failed"]:
        say(phrase("failed", tally.reasons["request_failed"]))
    if budget is not None and budget.exhausted:
        # earlier replies were asked for with this --max-tokens: a new value asks for all anew
        lower = "" if budget.spent_usd else " (or with --anew and a lower --max-tokens)"
        say(phrase("over_budget", tally.not_reached, rows=phrase("rows", tally.rows), lower=lower,
                   spent=budget.spent_usd, limit=budget.limit_usd, next=budget.refused_usd or 0.0))


def doubt_run(outcome: Tally | Forecast, reader: Reader) -> None:
    """Say why no row may have passed, if the input is the cause."""
    if isinstance(outcome, Tally):
        passed = outcome.pruned + outcome.rejected - outcome.stages["read"] \
            - outcome.stages["trace"]
        doubt = reader.seen.doubt(outcome.reasons["wrong_answer"] + passed, passed)
        if doubt and not outcome.pruned:
            say(f"{reader.path}: {doubt}")


def finish(outcome: Tally | Forecast, *, strict: bool) -> int:
    """Print a forecast; the exit code: STOPPED if rows were not reached, NOTHING for no gain."""
    if isinstance(outcome, Forecast):
        print(described(outcome))
        return 0
    if outcome.not_reached:
        return STOPPED
    if outcome.rows and not outcome.pruned:
        say(f"no row was pruned; the first reject: {outcome.first_reject}")
        return NOTHING
    return 1 if strict and outcome.rejected else 0


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
    """The run; what is `recorded` of it besides the options must be the same when it resumes."""
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

    def __fspath__(self) -> str:
        return str(self.folder)

    def pruned(self) -> Iterator[Pruned]:
        """The rows that became shorter, in the order of the input."""
        return jsonl.read(self.folder / PRUNED, Pruned)

    def rejects(self) -> Iterator[Reject]:
        """The other rows, each with its reason."""
        return jsonl.read(self.folder / REJECTS, Reject)


def prune(rows: str | Path | Iterable[Any], run_dir: str | Path,
          teacher: str | Teacher = "offline", options: PruneOptions | None = None, *,
          base_url: str | None = None, prompts_dir: str | Path | None = None,
          tokenizer: str = QWEN, concurrency: int = 64, max_cost_usd: float | None = None,
          anew: bool = False) -> PruneRun:
    """Prune traces as `drp prune` does: a file of them, or rows as `read` takes them. `teacher` is
    what `--teacher` takes, or a `Teacher` of your own. Every reply is kept in `run_dir`: the same
    call after an interruption asks nothing twice. Works in notebooks. Raises UserError."""
    if not 1 <= concurrency <= 4096:
        raise UserError(f"concurrency={concurrency} is not from 1 to 4096")
    given = rows if isinstance(rows, str | Path) else list(read(rows))
    if not isinstance(given, list):
        check_input([str(given)])
    elif len(ids := [row.id for row in given if isinstance(row, Trace)]) > len(set(ids)):
        raise UserError("prune: several rows have the same id", fix="Give each one its own")
    prompts = Prompts(None if prompts_dir is None else Path(prompts_dir))
    counter, options = TokenCounter.load(tokenizer, exact=False), options or PruneOptions()
    own = None if isinstance(teacher, str) else teacher
    name = teacher if isinstance(teacher, str) else teacher.name
    url = find_base_url(name, base_url)
    settings = TeacherSettings(name, (url,) if url else (), options.sampling, concurrency)

    again = partial(read, given)
    method, options = method_of(settings, again, options, counter, own)
    prompts.check(method.prompts)
    folder = Path(run_dir)
    job = prune_job(again, folder, method, options, prompts, counter, base_url=settings.endpoint,
                    total=len(given) if isinstance(given, list) else None)
    run = RunOptions(max_cost_usd=max_cost_usd, anew=anew)
    _to_its_end(lambda: run_session(job, method.asks, settings, run))
    return PruneRun(folder, json.loads((folder / SUMMARY).read_text("utf-8")))


def _to_its_end(begin: Callable[[], Any]) -> None:
    """Run a coroutine; in a notebook, whose event loop is busy, in a thread of its own."""
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

    with ThreadPoolExecutor(1) as apart:  # left after the thread has ended
        done = apart.submit(asyncio.run, main())
        try:
            done.result()
        except KeyboardInterrupt:
            for stop in stops:
                stop()
            raise
