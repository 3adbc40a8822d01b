"""Replies that no web framework would send: bytes that break HTTP's or JSON's rules, or use what
they allow."""

from __future__ import annotations

import pytest
from faults import Faults
from provider import Provider
from raw_peer import LIES, RawPeer
from small_runs import KEY, everything_written, rows_of, traces

from drp_plugin.llm.messages import Reply
from drp_plugin.records import Usage

RIGHT = ("hints", "cookies", "utf-16", "bom", "twice-a-key", "nan", "huge", "usage-text",
         "usage-list", "many-digits", "limits")
"""Odd, but the answer is there and can be read."""


def command(peer, data, run, *more):
    return ("prune", data, "-o", run, "--teacher", "openai:rules", "--base-url", peer.url,
            "--retries", "3", "--timeout", "20", "--price", "1,1", *more)


def test_every_lie_mixed_in(tmp_path, drp, rules):
    """30 % of replies are lies; then the server comes to its senses."""
    data, run = traces(tmp_path / "t.jsonl", 200), tmp_path / "run"
    faults = Faults(rate=0.3, kinds=tuple(LIES), script=[None] * 9 + [
        lie for kind in LIES for lie in (kind, None, None)])
    with Provider(rules) as other, RawPeer(rules, faults,
                                           other.url + "/chat/completions") as peer:
        ran = drp(*command(peer, data, run, "--concurrency", "16"))
        assert ran.code == 0 and "Traceback" not in ran.err, ran.err[-2000:]
        assert not set(LIES) - set(faults.injected), "every lie was told"
        first = rows_of(run)
        peer.faults = Faults()
        assert drp(*command(peer, data, run, "--concurrency", "16")).code == 0
        assert other.received == 0 and not other.urls
    for pruned, rejects, summary in (first, rows_of(run)):
        assert len(pruned) + len(rejects) == 200 and summary["balanced"]
        assert "internal_error" not in summary["rejects"], [
            r["detail"] for r in rejects if r["reason"] == "internal_error"][:3]
        assert all(r["detail"] for r in rejects)
        assert (summary["cost_usd"] or 0) >= 0
    assert "request_failed" not in summary["rejects"]
    assert len(pruned) > 150
    assert KEY.encode() in peer.heard and KEY.encode() not in everything_written(run)
    assert KEY not in ran.err + ran.out and "\x1b" not in ran.err


@pytest.mark.parametrize("lie", RIGHT)
def test_an_odd_reply_that_can_be_read_is_not_asked_for_again(tmp_path, drp, rules, lie):
    data, run = traces(tmp_path / "t.jsonl", 1), tmp_path / "run"
    with RawPeer(rules, Faults(rate=1.0, kinds=(lie,))) as peer:
        ran = drp(*command(peer, data, run, "--strict"))
        assert ran.code == 0 and peer.received == 2, ran.err


def test_a_key_in_a_students_words_is_not_kept(tmp_path, drp):
    async def answer(request):
        return Reply(text=f"<think>\n{KEY}\n</think>\n\n7 {KEY}", finish_reason="stop",
                     usage=Usage(requests=1, prompt_tokens=9, completion_tokens=9))

    (tmp_path / "q.jsonl").write_text('{"question": "3 + 4?", "answer": "7"}\n')
    with Provider(answer) as server:
        ran = drp("generate", tmp_path / "q.jsonl", "-o", tmp_path / "t.jsonl", "--base-url",
                  server.url, "--model", "rules")
    assert ran.code == 0 and "[key]" in (tmp_path / "t.jsonl").read_text()
    assert KEY.encode() not in everything_written(tmp_path)
