"""The ledger: durable, shared, one answer a key."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Entry, Ledger, request_key


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def test_an_answer_comes_back_also_from_another_process(path):
    with Ledger(path) as ledger:
        ledger.put(Entry("k", {"text": "π \ud800", "n": 1}, tag="x", cost_usd=0.25))
        ledger.put(Entry("a", {}), Entry("b", {"t": 2}, cost_usd=0.5))
    with Ledger(path) as ledger:
        assert ledger.get("k") == {"text": "π \ud800", "n": 1}
        assert ledger.get_many(["a", "b", "nothing"]) == {"a": {}, "b": {"t": 2}}
        assert ledger.get("nothing") is None
        assert ledger.totals() == (3, 0.75)


def test_the_first_answer_stays(path):
    with Ledger(path) as ledger:
        ledger.put(Entry("k", {"n": 1}))
        ledger.put(Entry("k", {"n": 2}))
        assert ledger.get("k") == {"n": 1} and len(ledger) == 1


@pytest.mark.parametrize("gone", ["deleted", "moved", "alone"])
def test_nothing_is_stored_where_nobody_can_find_it(tmp_path, gone):
    """SQLite writes on into a file without a name, and says that all is well."""
    folder = tmp_path / "run"
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.put(Entry("k", {"n": 1}))
        if gone == "deleted":
            shutil.rmtree(folder)
        elif gone == "moved":
            folder.rename(tmp_path / "elsewhere")
        else:
            (folder / "ledger.sqlite").unlink()
        with pytest.raises(UserError, match=r"ledger.sqlite: cannot be written .*put them back"):
            ledger.put(Entry("l", {"n": 2}))
        if gone == "moved":
            (tmp_path / "elsewhere").rename(folder)
            ledger.put(Entry("l", {"n": 2}))
            assert ledger.totals().replies == 2


def test_keys_depend_on_everything_but_the_order():
    base = {"model": "m", "temperature": 0.0, "messages": [["user", "hi"]]}
    assert request_key(base) == request_key(dict(reversed(base.items())))
    others = [base | {"model": "n"}, base | {"temperature": 0.1}, base | {"seed": 1},
              base | {"messages": [["user", "hi "]]}, base | {"messages": [["system", "hi"]]}]
    assert len({request_key(o) for o in [base, *others]}) == 6


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), st.one_of(st.text(), st.floats(allow_nan=False), st.integers(),
                                            st.none()), max_size=5))
def test_any_json_object_survives(value):
    import tempfile
    with tempfile.TemporaryDirectory() as folder, Ledger(f"{folder}/l.sqlite") as ledger:
        ledger.put(Entry("k", value))
        assert ledger.get("k") == value


def test_a_claim_excludes_others_until_released(path):
    with Ledger(path) as one, Ledger(path) as two:
        assert one.claim("k") and not two.claim("k") and two.claim("other")
        one.release("k")
        assert two.claim("k") and not one.claim("k")


def test_a_dead_process_loses_its_claims_at_once(path):
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from drp_plugin.llm.ledger import Entry, Ledger\n"
         f"l = Ledger({str(path)!r}); print(l.claim('k'), flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "True\n"
    with Ledger(path) as ledger:
        assert not ledger.claim("k")
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert ledger.claim("k")


def test_what_put_returned_for_survives_kill_9(path):
    code = f"""
import asyncio, sys
from drp_plugin.llm.ledger import Entry, Ledger
ledger = Ledger({str(path)!r})
async def one(i):
    for j in range(100000):
        await ledger.aput(Entry(f"{{i}}-{{j}}", {{"text": "x" * 500}}))
        sys.stdout.write(f"{{i}}-{{j}}\\n"); sys.stdout.flush()
async def all(): await asyncio.gather(*[one(i) for i in range(20)])
asyncio.run(all())
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    said = [child.stdout.readline().strip() for _ in range(500)]
    child.kill()
    said += [line.strip() for line in child.stdout.read().splitlines() if line.count("-") == 1]
    child.wait()
    with Ledger(path) as ledger:
        found = ledger.get_many(said[:-1])  # the last line may have been cut by the kill
        assert len(found) == len(set(said[:-1]))


def test_what_waits_together_is_committed_together(path):
    with Ledger(path) as ledger:
        commits = []
        ledger._writer.set_trace_callback(
            lambda statement: statement == "COMMIT" and commits.append(statement))
        async def many():
            await asyncio.gather(*[ledger.aput(Entry(f"k{i}", {"i": i})) for i in range(3000)])
        asyncio.run(many())
        assert 0 < len(commits) < 300
        assert len(ledger) == 3000


def test_two_processes_write_at_once(path):
    code = ("import sys; from drp_plugin.llm.ledger import Entry, Ledger\n"
            f"l = Ledger({str(path)!r})\n"
            "for i in range(200): l.put(Entry(f'{sys.argv[1]}-{i}', {'i': i}))")
    children = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(3)]
    assert [c.wait() for c in children] == [0, 0, 0]
    with Ledger(path) as ledger:
        assert len(ledger) == 600


def test_notes(path):
    with Ledger(path) as ledger:
        ledger.note("batch/1", {"id": "x"})
        ledger.note("batch/0", {"id": "y"})
        ledger.note("other", 1)
        assert list(ledger.notes("batch/").items()) == [("batch/0", {"id": "y"}),
                                                        ("batch/1", {"id": "x"})]
        ledger.note("batch/0", None)
        assert list(ledger.notes("batch/")) == ["batch/1"]


def test_a_file_that_is_no_ledger_is_refused_in_one_line(path):
    path.write_text("this is not a database, it is a text of some length\n" * 20)
    with pytest.raises(UserError, match=r"ledger\.sqlite"):
        Ledger(path)


def test_a_damaged_ledger_says_so_whatever_is_asked(path):
    with Ledger(path) as ledger:
        ledger.put(*[Entry(f"k{i}", {"text": "x" * 500}) for i in range(400)])
        ledger.note("n", 1)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\x55" * (len(content) - 4096))
    with Ledger(path) as ledger:
        for use in (lambda: ledger.get("k1"), lambda: ledger.get_many(["k1"]), ledger.totals,
                    ledger.notes, lambda: ledger.note("n", 2), lambda: ledger.put(Entry("new", {})),
                    lambda: list(ledger.unpriced())):
            with pytest.raises(UserError, match=r"ledger\.sqlite: is damaged") as caught:
                use()
            assert "move" not in str(caught.value), "what it holds is paid for"


@pytest.mark.parametrize(("code", "fix"), [
    (sqlite3.SQLITE_FULL, "Free the disk"), (sqlite3.SQLITE_IOERR_SHMSIZE, "Free the disk"),
    (sqlite3.SQLITE_READONLY_DBMOVED, "writable"), (sqlite3.SQLITE_CANTOPEN, "writable"),
    (sqlite3.SQLITE_BUSY, "Another process"), (sqlite3.SQLITE_CORRUPT, "recover"),
    (None, "recover")])
def test_what_mends_a_ledger_is_told(path, monkeypatch, code, fix):
    error = sqlite3.OperationalError("what SQLite says")
    if code is not None:
        error.sqlite_errorcode = code

    def fails(self):
        raise error

    monkeypatch.setattr(Ledger, "_connect", fails)
    with pytest.raises(UserError, match=fix) as caught:
        Ledger(path)
    assert "what SQLite says" in str(caught.value)


def test_a_full_disk_wakes_every_writer_and_leaves_the_rest(path, monkeypatch):
    connect = Ledger._connect

    def small(self):
        connection = connect(self)
        connection.execute("PRAGMA max_page_count=8")
        return connection

    monkeypatch.setattr(Ledger, "_connect", small)

    async def many(ledger):
        return await asyncio.gather(*[ledger.aput(Entry(f"k{i}", {"text": "x" * 900}))
                                      for i in range(60)], return_exceptions=True)

    with Ledger(path) as ledger:
        ledger.put(Entry("before", {"n": 1}))
        failed = [e for e in asyncio.run(many(ledger)) if e is not None]
        assert failed and all("Free the disk" in str(e) for e in failed)
        assert ledger.get("before") == {"n": 1}


@pytest.mark.parametrize(("mounts", "shared", "journal"), [
    ("/dev/sda / ext4 rw 0 0", None, "wal"),
    ("/dev/sda / ext4 rw 0 0\nserver:/x {} nfs4 rw,vers=4.2,local_lock=none 0 0", True, "delete"),
    ("/dev/sda / ext4 rw 0 0\nserver:/x {} nfs rw,nolock,vers=3 0 0", False, "delete"),
    ("//server/x {} cifs rw,nobrl 0 0\n/dev/sda / ext4 rw 0 0", False, "delete"),
    ("lustre {} lustre rw,flock 0 0\n/dev/sda / ext4 rw 0 0", True, "delete"),
])
def test_a_network_disk_is_seen(tmp_path, monkeypatch, mounts, shared, journal):
    """Its write-ahead log would need one machine's memory; who may share it is told."""
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: mounts.format(tmp_path)
                        if str(self) == "/proc/self/mounts" else read(self, *a, **k))
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.shared is shared
        assert ledger._writer.execute("PRAGMA journal_mode").fetchone() == (journal,)
        ledger.put(Entry("k", {"a": 1}))
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.get("k") == {"a": 1}
