"""Replies that no web framework would send: bytes that break HTTP's or JSON's rules, or use what
they allow."""

from __future__ import annotations

import base64

import pytest
from faults import Faults
from provider import Provider
from raw_peer import LIES, RawPeer, changed, http, packed
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


FORMS = (KEY, *(base64.b64encode(x.encode()).decode() for x in (KEY, f"u:{KEY}")),
         "".join(f"%{ord(c):02x}" for c in KEY), "".join(f"\\u{ord(c):04x}" for c in KEY))


def asking(kind, url, data, out):
    if kind == "generate":
        return ("generate", data, "-o", out / "t.jsonl", "--base-url", url, "--model", "rules")
    return ("prune", data, "-o", out / "run", "--teacher", f"{kind.split()[0]}:rules",
            "--base-url", url, "--keep-wrong", "--retries", "1", "--poll", "0.05",
            *(("--batch",) if "batch" in kind else ()))


@pytest.mark.parametrize("kind", ["generate", "openai", "gemini", "openai batch", "gemini batch"])
def test_a_key_in_a_reply_is_not_kept(tmp_path, drp, kind):
    """However it is written, whoever asked."""
    async def answer(request):
        return Reply(text=f"<think>\n{' '.join(FORMS)}\n</think>\n\n7 {KEY}",
                     usage=Usage(requests=1, prompt_tokens=9, completion_tokens=9))

    data, out = traces(tmp_path / "t.jsonl", 1), tmp_path / "out"
    with Provider(answer) as server:
        ran = drp(*asking(kind, server.gemini_url if "gemini" in kind else server.url, data, out))
    assert ran.code == (0 if kind == "generate" else 2), ran.err
    kept = b"".join(f.read_bytes() for f in out.rglob("*") if f.is_file()
                    and f.parent.name != "batches")  # the provider's own files, until they are read
    assert b"[key]" in kept and not [form for form in FORMS if form.encode()[:40] in kept]


@pytest.mark.parametrize("kind", ["generate", "openai"])
@pytest.mark.parametrize("lie", ["finish", "refusal", "status", "message", "no-json"])
def test_a_key_in_an_error_is_not_told(tmp_path, drp, rules, monkeypatch, kind, lie):
    said = " ".join(FORMS)
    monkeypatch.setitem(LIES, "key", {
        "finish": changed(finish_reason=said, message={"role": "assistant", "content": ""}),
        "refusal": changed(finish_reason="content_filter", message={"refusal": said}),
        "status": lambda _, __: http(b"{}", f"x-key: {KEY}", status=f"403 {KEY}"),
        "message": lambda _, __: http(packed({"error": {"message": said, "code": said}}),
                                      status="400 No"),
        "no-json": lambda _, __: http(said.encode())}[lie])
    data, out = traces(tmp_path / "t.jsonl", 1), tmp_path / "out"
    with RawPeer(rules, Faults(rate=1.0, kinds=("key",))) as peer:
        ran = drp(*asking(kind, peer.url, data, out))
    assert ran.code == 2, ran.err
    told = ran.err.encode() + everything_written(tmp_path)
    assert not [form for form in FORMS if form.encode()[:40] in told], ran.err
