"""`drp prune` with real clients over HTTP: every row ends somewhere, nothing is asked twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from faults import TRANSPORT, Faults
from provider import Provider
from small_runs import KEY, everything_written, rows_of, traces

from drp_plugin.resources import resource

QUICK = ("--timeout", "1", "--concurrency", "16")


def remote(provider, run, kind="openai"):
    url = provider.url if kind == "openai" else provider.gemini_url
    return ("-o", run, "--teacher", f"{kind}:rules", "--base-url", url, *QUICK)


@pytest.mark.parametrize("kind", ["openai", "gemini"])
@pytest.mark.parametrize("mode", ["skill", "indexed"])
def test_faulty_replies_end_in_pruned_or_rejects(tmp_path, drp, rules, kind, mode):
    data = traces(tmp_path / "t.jsonl", 24)
    faults = Faults(rate=0.3, seed=4, silence_s=3, quote_key=True)
    with Provider(rules, faults=faults) as provider:
        ran = drp("prune", data, *remote(provider, tmp_path / "run", kind), "--decompose", mode)
    assert ran.code == 0, ran.err
    pruned, rejects, summary = rows_of(tmp_path / "run")
    assert len(pruned) + len(rejects) == 24 == summary["rows"] and summary["balanced"]
    assert {r["id"] for r in pruned + rejects} == {f"q{n}" for n in range(24)}
    assert len(pruned) >= 10 and sum(faults.injected.values()) > 10
    assert not {r["reason"] for r in rejects} & {"internal_error"}


def test_transport_faults_alone_lose_no_row_and_change_nothing(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 30)
    with Provider(rules) as provider:
        assert drp("prune", data, *remote(provider, tmp_path / "calm")).code == 0
    port = provider.port
    faults = Faults(rate=0.4, kinds=TRANSPORT, seed=1, silence_s=3)
    stormy = Provider(rules, faults=faults)
    stormy.port = port
    with stormy:
        assert drp("prune", data, *remote(stormy, tmp_path / "storm"), "--strict").code == 0
    for file in ("pruned.jsonl", "rejects.jsonl", "summary.json"):
        assert (tmp_path / "calm" / file).read_bytes() == (tmp_path / "storm" / file).read_bytes()
    assert sum(faults.injected.values()) > 10 and max(stormy.answered.values()) == 1


def test_same_again_asks_nothing_and_one_row_more_asks_one_row(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 10)
    run = tmp_path / "run"
    with Provider(rules) as provider:
        command = ("prune", data, *remote(provider, run))
        assert drp(*command).code == 0
        asked, first = provider.received, (run / "pruned.jsonl").read_bytes()
        assert asked == 20
        assert drp(*command).code == 0
        assert provider.received == asked
        assert (run / "pruned.jsonl").read_bytes() == first
        traces(data, 11)
        assert drp(*command).code == 0
        assert provider.received == asked + 2
        assert (run / "pruned.jsonl").read_bytes().startswith(first)


def test_what_changes_an_answer_is_asked_anew(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 5)
    run, prompts = tmp_path / "run", tmp_path / "prompts"
    shutil.copytree(resource("prompts"), prompts)
    with Provider(rules) as provider:
        command = ("prune", data, *remote(provider, run))
        assert drp(*command).code == 0
        assert provider.received == 10

        refused = drp(*command, "--temperature", "0.7")
        assert refused.code == 2 and "temperature: 0.0 → 0.7" in refused.err
        assert refused.err.count("\n") == 1 and provider.received == 10

        assert drp(*command, "--temperature", "0.7", "--anew").code == 0
        assert provider.received == 20
        assert drp(*command, "--anew").code == 0
        assert provider.received == 20, "the first settings' replies are still there"

        revise = prompts / "revise.jinja"
        revise.write_text(revise.read_text().replace("Reply in exactly", "Do reply in exactly"))
        assert drp(*command, "--prompts", prompts, "--anew").code == 0
        assert provider.received == 25, "decompose is not asked again, revise is"

        other = ["openai:other" if a == "openai:rules" else a for a in command]
        assert drp(*other, "--anew").code == 0
        assert provider.received == 35
        assert drp(*command, "--seed", "1", "--anew").code == 0
        assert provider.received == 45
    assert max(provider.answered.values()) == 1


def test_another_window_is_asked_anew(tmp_path, drp, rules):
    row = json.loads(traces(tmp_path / "t.jsonl", 1).read_text())
    head, tail = row["response"].split("</think>")
    row["response"] = head + "\n\n".join(
        f"Let me think about item {i}. It has {i} parts, and {i} + 1 = {i + 1}."
        for i in range(60)) + "\n</think>" + tail
    data = tmp_path / "t.jsonl"
    data.write_text(json.dumps(row) + "\n")
    with Provider(rules) as provider:
        assert drp("prune", data, *remote(provider, tmp_path / "a"),
                   "--no-check-numbers").code == 0
        whole = provider.received
        assert drp("prune", data, *remote(provider, tmp_path / "a"), "--no-check-numbers",
                   "--window-tokens", "300", "--anew").code == 0
        assert provider.received - whole > whole
    assert max(provider.answered.values()) == 1


def test_equal_rows_are_paid_once(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 3)
    lines = data.read_text().splitlines()
    again = [json.dumps(json.loads(x) | {"id": f"copy-{i}"}) for i, x in enumerate(lines * 3)]
    data.write_text("\n".join(lines + again) + "\n")
    with Provider(rules, latency_s=0.05) as provider:
        assert drp("prune", data, *remote(provider, tmp_path / "run")).code == 0
        assert provider.received == 6
    _, _, summary = rows_of(tmp_path / "run")
    assert summary["rows"] == 12 and summary["paid"]["requests"] == 6


def test_the_key_is_in_nothing_written_or_printed(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 8)
    faults = Faults(rate=1.0, kinds=("500",), quote_key=True)
    with Provider(rules, faults=faults) as provider:
        failed = drp("prune", data, *remote(provider, tmp_path / "run"), "--retries", "1")
        faults.kinds = ("401",)
        refused = drp("prune", data, *remote(provider, tmp_path / "other"))
    assert failed.code == 2 and refused.code == 2, "no row was pruned"
    _, rejects, _ = rows_of(tmp_path / "run")
    assert {r["reason"] for r in rejects} == {"request_failed"} and len(rejects) == 8
    assert "had an error" in rejects[0]["detail"], "the provider's own words are kept"
    for text in (failed.out, failed.err, refused.out, refused.err):
        assert KEY not in text and "VerySecret" not in text
    assert b"VerySecret" not in everything_written(tmp_path)


def test_a_failed_request_is_asked_again_by_the_next_run(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 6)
    faults = Faults(script=["500", "500"])
    with Provider(rules, faults=faults) as provider:
        command = ("prune", data, *remote(provider, tmp_path / "run"), "--retries", "0")
        assert drp(*command, "--strict").code == 1
        assert rows_of(tmp_path / "run")[2]["rejects"] == {"request_failed": 2}
        before = provider.received
        assert drp(*command, "--strict").code == 0
        assert provider.received - before == 4, "two requests for each of the two rows"


@pytest.mark.parametrize(("arguments", "says"), [
    (["--teacher", "openai:m"], "OPENAI_API_KEY"),
    (["--teacher", "gemini:m"], "GEMINI_API_KEY"),
    (["--teacher", "claude:m"], "unknown teacher"),
    (["--teacher", "openai:"], "names no model"),
    (["--teacher", "offline", "--temperature", "hot"], "temperature"),
    (["--teacher", "offline", "--prompts", "/nowhere"], "no such folder"),
    (["--teacher", "offline", "--tokenizer", "/nowhere.json"], "/nowhere.json"),
    (["--teacher", "offline", "--decompose", "words"], "words"),
    (["--teacher", "openai:m", "--base-url", "localhost:8000"], "--base-url"),
    (["--teacher", "offline", "--price", "cheap"], "--price"),
    (["--teacher", "offline", "--batch"], "no batch API"),
    (["--teacher", "openai:m", "--base-url", "http://h/v1", "--max-cost", "1"], "--price"),
])
def test_a_users_mistake_is_one_line_and_code_2(tmp_path, drp, monkeypatch, arguments, says):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("GEMINI_API_KEY")
    data = traces(tmp_path / "t.jsonl", 2)
    ran = drp("prune", data, "-o", tmp_path / "run", *arguments)
    assert ran.code == 2 and says in ran.err
    assert ran.err.count("\n") == 1 and "Traceback" not in ran.err


@pytest.mark.parametrize(("text", "says"), [
    ("temprature: 0.5\n", "'temperature'"), ("- 1\n", "mapping"), ("a: [\n", "not YAML"),
    ("concurrency: many\n", "concurrency"), ("teacher: [a, b]\n", "single value"),
])
def test_a_bad_config_is_one_line(tmp_path, drp, text, says):
    config = tmp_path / "prune.yaml"
    config.write_text(text)
    ran = drp("prune", traces(tmp_path / "t.jsonl", 1), "-o", tmp_path / "run", "--teacher",
              "offline", "--config", config)
    assert ran.code == 2 and says in ran.err and ran.err.count("\n") == 1


def test_a_config_sets_options_and_the_command_line_wins(tmp_path, drp):
    config = tmp_path / "prune.yaml"
    config.write_text("teacher: offline\ndecompose: indexed\ntemperature: 0.3\nkeep-wrong: true\n"
                      "extra: {reasoning_effort: low}\n")
    run = tmp_path / "run"
    ran = drp("prune", traces(tmp_path / "t.jsonl", 1), "-o", run, "--config", config,
              "--decompose", "skill")
    assert ran.code == 0, ran.err
    settings = json.loads((run / "settings.json").read_text())
    assert settings["decompose"] == "skill" and settings["keep_wrong"] is True
    assert settings["sampling"]["temperature"] == 0.3
    assert settings["sampling"]["extra"] == {"reasoning_effort": "low"}


def test_bad_rows_are_rejects_and_bad_files_are_one_line(tmp_path, drp):
    run = tmp_path / "run"
    good = traces(tmp_path / "t.jsonl", 1).read_text()
    data = tmp_path / "mixed.jsonl"
    data.write_text(good + "not json\n" + '{"id": "x", "question": "q"}\n'
                    + '{"id": "y", "question": "q", "response": "<think>cut off"}\n'
                    + '{"id": "z", "question": "q", "response": "<think></think>A"}\n')
    assert drp("prune", data, "-o", run, "--teacher", "offline").code == 0
    _, rejects, summary = rows_of(run)
    assert [r["reason"] for r in rejects] == ["not_json", "bad_row", "no_think_end",
                                              "empty_trace"]
    assert (summary["rows"], summary["pruned"], summary["rejected"]) == (5, 1, 4)
    assert drp("prune", data, "-o", run, "--teacher", "offline", "--strict").code == 1
    missing = drp("prune", tmp_path / "none.jsonl", "-o", run, "--teacher", "offline")
    assert missing.code == 2 and "none.jsonl" in missing.err and missing.err.count("\n") == 1


@pytest.mark.data
def test_real_traces_with_faulty_replies(tmp_path, drp, rules, data_dir):
    """All 240 real traces, 30 % faults of every kind."""
    data = data_dir / "traces_math_train_r1distill.jsonl"
    faults = Faults(rate=0.3, seed=2, silence_s=4)
    with Provider(rules, faults=faults) as provider:
        ran = drp("prune", data, "-o", tmp_path / "run", "--teacher", "openai:rules",
                  "--base-url", provider.url, "--timeout", "3", "--concurrency", "8")
    assert ran.code == 0, ran.err
    pruned, rejects, summary = rows_of(tmp_path / "run")
    ids = [json.loads(x)["id"] for x in Path(data).read_text().splitlines()]
    assert len(pruned) + len(rejects) == len(ids) == summary["rows"]
    assert sum(faults.injected.values()) > 100
    assert not {r["reason"] for r in rejects} & {"internal_error", "request_failed"}
