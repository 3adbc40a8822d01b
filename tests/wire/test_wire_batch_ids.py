"""Batches that come back under other ids than were sent: paid for once, and kept."""

from __future__ import annotations

import json
import re

import pytest
from provider import Provider
from small_runs import batch, rows_of, traces, unbatched
from starlette.responses import Response

from drp_plugin.llm.ledger import Ledger


class Renaming(Provider):
    """A gateway that gives requests ids of its own."""

    def __init__(self, answer, renamed=lambda name, number: True, **more):
        super().__init__(answer, **more)
        self.renamed = renamed

    async def content(self, http):
        found, name = await super().content(http), http.path_params["id"]
        rows = [json.loads(line) for line in found.body.splitlines()]
        for number, row in enumerate(rows):
            if self.renamed(name, number):
                row["custom_id"] = row["custom_id"] and f"gateway-{row['custom_id']}"
        return Response("".join(json.dumps(row) + "\n" for row in rows))

    def of_errors(self, name):
        return any(job.errors == name for job in self.batches.values())


def kept_in(run):
    return list((run / "batches").glob("*.unknown"))


def indexed(provider, data, run, *more):
    return batch(provider, data, run, "openai", "--decompose", "indexed", *more)


@pytest.mark.parametrize(("renamed", "plan", "own"), [
    (lambda name, number: True, "ok", 0), (lambda name, number: number % 2, "ok", 2),
    (lambda name, number: number, "ok", 1), (lambda name, number: True, "error", 0),
    (lambda name, number: True, "refused", 0)], ids=["all", "half", "but one", "of two files",
                                                    "both files"])
def test_answers_under_unknown_ids_are_paid_once_and_kept(tmp_path, drp, rules, renamed, plan, own):
    """Asking again would only be paid again."""
    data, run = traces(tmp_path / "t.jsonl", 4), tmp_path / "run"
    fates = {"ok": "ok", "error": "error",
             "refused": {"status_code": 400, "body": {"error": {"message": "odd"}}}}
    with Renaming(rules, renamed) as provider:
        provider.batch_plan = lambda job, number: "ok" if number else fates[plan]
        if plan == "error":  # the one that failed keeps its id
            provider.renamed = lambda name, number: not provider.of_errors(name)
        command = indexed(provider, data, run)
        ran = drp(*command)
        assert ran.code == 2 and len(provider.batches) == 1, ran.err
        assert "under other ids than were sent" in ran.err.splitlines()[-1]
        kept, = kept_in(run)
        assert str(kept) in ran.err
        assert kept.read_text().count("gateway-") == (4 if plan == "ok" else 3) - own
        # an experiment that is resumed runs the same command: nothing is paid again unasked
        again = drp(*command)
        assert again.code == 2 and str(kept) in again.err and len(provider.batches) == 1
        assert "remove the file" in again.err and again.err.count("\n") == 1, again.err
        # no dead end: live requests go on in the same folder
        assert drp(*unbatched(command)).code == 0
        assert provider.received == 4 - own and kept.exists()
        assert drp(*command).code == 0 and len(provider.batches) == 1  # all is there
    assert len(rows_of(run)[0]) == 4


@pytest.mark.parametrize("why", ["errors", "nobody's error", "another batch's answers"])
def test_other_ids_that_are_no_answers_of_ours_end_no_run(tmp_path, drp, rules, why):
    data, run = traces(tmp_path / "t.jsonl", 4), tmp_path / "run"
    with Renaming(rules) as provider:
        provider.renamed = lambda name, number: provider.of_errors(name)
        store = provider._store
        if why == "another batch's answers":
            provider._store = lambda lines: store(lines + [
                re.sub(r'"custom_id": "', '"custom_id": "theirs-', line) for line in lines])
        else:
            provider.batch_plan = lambda job, number: \
                "ok" if number or len(provider.batches) > 1 else "error"
        if why == "nobody's error":
            provider._store = lambda lines: store([re.sub(
                r'"custom_id": "\w+"(?=.*batch_expired)', '"custom_id": null', line)
                for line in lines])
        ran = drp(*indexed(provider, data, run, "--strict"))
        assert ran.code == 0 and not kept_in(run), ran.err
        assert len(provider.batches) == (1 if why == "another batch's answers" else 2)
        assert max(provider.answered.values()) == 1


@pytest.mark.parametrize("then", ["batch", "live"])
def test_killed_between_keeping_such_answers_and_the_end_of_the_note(tmp_path, drp, rules,
                                                                     monkeypatch, then):
    from drp_plugin.runner.batch_files import BatchFiles

    data, run = traces(tmp_path / "t.jsonl", 4), tmp_path / "run"
    with Renaming(rules) as provider:
        command = indexed(provider, data, run)
        with monkeypatch.context() as patch:
            def die(self, sent):
                raise KeyboardInterrupt

            patch.setattr(BatchFiles, "forget", die)
            assert drp(*command).code == 130 and len(kept_in(run)) == 1
        if then == "batch":
            ran = drp(*command)
            assert ran.code == 2 and "under other ids" in ran.err, ran.err
        else:
            ran = drp(*unbatched(command))
            assert ran.code == 0 and "under other ids" in ran.err, ran.err
        kept, = kept_in(run)
        assert kept.read_text().count("gateway-") == 4 and len(provider.batches) == 1
        assert drp(*unbatched(command)).code == 0 and provider.received == 4


@pytest.mark.parametrize("anew", [(), ("--anew",)])
def test_one_of_several_open_batches_answers_under_other_ids(tmp_path, drp, rules, monkeypatch,
                                                             anew):
    """The answers of the others are stored, and live requests go on at once."""
    from drp_plugin.runner.batch import BatchRun

    data, run = traces(tmp_path / "t.jsonl", 6), tmp_path / "run"
    with Renaming(rules) as provider:
        first = lambda: next(iter(provider.batches.values()))  # noqa: E731
        provider.renamed = lambda name, number: first().output == name
        command = indexed(provider, data, run, "--batch-size", "2")
        with monkeypatch.context() as patch:
            settle = BatchRun._settle_open

            async def die(self, **how):
                if self.files.open():
                    raise KeyboardInterrupt
                await settle(self, **how)

            patch.setattr(BatchRun, "_settle_open", die)
            assert drp(*command).code == 130 and len(provider.batches) == 3
        ran = drp(*unbatched(command), *anew)
        assert ran.code == 0 and "under other ids" in ran.err, ran.err
        assert len(kept_in(run)) == 1 and provider.received == 2
    assert len(rows_of(run)[0]) == 6


@pytest.mark.parametrize("usage", ["with usage", "without usage"])
@pytest.mark.parametrize("killed", [False, True])
def test_what_such_answers_cost_counts(tmp_path, drp, rules, monkeypatch, usage, killed):
    """Once, also when they are collected twice, and in the next run too."""
    from drp_plugin.runner.batch_files import BatchFiles

    data, run = traces(tmp_path / "t.jsonl", 4), tmp_path / "run"
    with Renaming(rules) as provider:
        if usage == "without usage":
            store = provider._store
            provider._store = lambda lines: store([re.sub(r'"usage": \{.*?\}', '"usage": null', x)
                                                   for x in lines])
        command = indexed(provider, data, run, "--price", "1,1", "--max-tokens", "1000",
                          "--max-cost")
        if killed:
            def die(self, sent):
                raise KeyboardInterrupt

            with monkeypatch.context() as patch:
                patch.setattr(BatchFiles, "forget", die)
                assert drp(*command, "0.02").code == 130
        assert drp(*command, "0.02").code == 2
        with Ledger(run / "ledger.sqlite") as ledger:
            stored = [ledger.totals().cost_usd or 0.0,
                      sum(value["most_usd"] for _, value in ledger.unpriced())]
            assert len(ledger) == 4 and min(stored) == 0
        spent, = filter(None, stored)
        # nothing is left of a budget that is just what these cost
        ran = drp(*unbatched(command), f"{spent:.9f}")
        assert ran.code == 3 and "4 of 4 rows were not reached" in ran.err, ran.err
        assert drp(*unbatched(command), "5").code == 0
        assert rows_of(run)[2]["paid"]["requests"] == 8 and provider.received == 4
