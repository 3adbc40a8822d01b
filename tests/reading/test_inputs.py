"""Every layout that docs/inputs.md shows is read as the page says: its rows are the data."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
from pathlib import Path

import pytest

import drp_plugin
from drp_plugin.errors import UserError
from drp_plugin.finish import ended, ending, told
from drp_plugin.reading import Reader, parse_columns, traces
from drp_plugin.reading.golds import gold
from drp_plugin.records import Reason, Reject, Trace
from drp_plugin.resources import layouts
from drp_plugin.thinking import as_published

PAGE = Path(__file__).resolve().parents[2] / "docs" / "inputs.md"
QUESTION, THINKING, ANSWER = "What is 3 + 4?", "3 and 4 make 7.", "It is \\boxed{7}."
RESPONSE = f"<think>\n{THINKING}\n</think>\n\n{ANSWER}"
ROW = {"id": "a", "question": QUESTION, "answer": "7", "response": RESPONSE}


def gzipped(data: bytes) -> bytes:
    """Compressed without the time, so that every worker collects the same test."""
    return gzip.compress(data, mtime=0)


def blocks() -> dict[str, list[str]]:
    """The page's rows by their heading."""
    parts = re.split(r"^##+ (.+)$", PAGE.read_text("utf-8"), flags=re.M)
    found = {title: re.findall(r"```json\n(.*?)```", text, re.S)
             for title, text in zip(parts[1::2], parts[2::2], strict=True)}
    return {title: text[0].splitlines() for title, text in found.items() if text}


ROWS = [(title, line) for title, lines in blocks().items() for line in lines]


def read(folder: Path, *rows: object, **options: object) -> list:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return list(Reader(file, say=lambda text: None, **options))  # type: ignore[arg-type]


def responses(folder: Path, *rows: object) -> list[str]:
    return [item.value["response"] for item in read(folder, *rows)]


def test_the_page_has_all_of_them() -> None:
    assert len(blocks()) == 13 and len(ROWS) > 60


@pytest.mark.parametrize(("title", "line"), ROWS)
def test_every_row_of_the_page_reads_the_same(title: str, line: str, tmp_path: Path) -> None:
    first, *more = read(tmp_path, line)
    assert re.sub(r"\s+", " ", first.value["response"]) == re.sub(r"\s+", " ", RESPONSE)
    if title != "Outputs of batches":
        assert first.value["question"].replace("\n\n", " ") == QUESTION
    assert first.value["answer"] == (
        None if title == "Outputs of batches" or "model_output" in line else "7")
    assert len(more) == (title == "Several responses per question")


@pytest.mark.parametrize(("title", "line"), ROWS)
def test_score_grades_them_and_prune_takes_them(title: str, line: str, tmp_path: Path) -> None:
    from drp_plugin.grading import grade

    file = tmp_path / "rows.jsonl"
    file.write_text(line)
    if title == "Outputs of batches":
        with pytest.raises(UserError, match=r"row 1: .*batch.*holds no question"):
            list(traces(file))
        return
    for row in traces(file):
        assert isinstance(row, Trace)
        assert grade(row.response, row.answer or "7").correct


def test_what_was_found_is_said_once(tmp_path: Path) -> None:
    file, said = tmp_path / "f.jsonl", []
    row = {"problem": "?", "solution": "#### 7", "generation": "<think>t</think>7"}
    file.write_text((json.dumps(row) + "\n") * 3)
    reader = Reader(file, say=said.append)
    list(reader), list(reader)
    assert said == [f"{file}: read as fields of other names: question=problem, "
                    "response=generation, answer=solution"]
    file.write_text(json.dumps(ROW))
    said.clear()
    list(reader)
    assert said == []


# -- files ---------------------------------------------------------------------------------------

MANY = [{**ROW, "id": str(n), "question": "é" * n + "?"} for n in range(1, 400)]


WHOLE = {"data": {"version": 2, "data": MANY}, "by name": {row["id"]: row for row in MANY},
         "columns": {name: [row[name] for row in MANY] for name in ROW},
         "pandas": {name: {str(n): row[name] for n, row in enumerate(MANY)} for name in ROW}}


SIGNS = {"csv": ",", "tsv": "\t", "csv of a spreadsheet": ";"}


def packed(folder: Path, kind: str) -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in MANY).encode()
    array = json.dumps(MANY, indent=1, ensure_ascii=False).encode()
    file = folder / "rows.x"  # the name does not matter
    names = list(MANY[0])
    if kind in ("parquet", "feather", "arrow stream"):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import feather, parquet
        table = pyarrow.Table.from_pylist(MANY)
        if kind == "arrow stream":  # what datasets' `save_to_disk` writes
            with pyarrow.ipc.new_stream(file, table.schema) as out:
                out.write_table(table)
        else:
            (parquet.write_table if kind == "parquet" else feather.write_feather)(table, file)
    elif kind in SIGNS:
        with file.open("w", newline="", encoding="utf-8") as text:
            out = csv.DictWriter(text, names, delimiter=SIGNS[kind])
            out.writeheader()
            out.writerows(MANY)
    elif kind in WHOLE:
        file.write_text(json.dumps(WHOLE[kind], indent=1))
    else:
        file.write_bytes({"jsonl": lines, "crlf": lines.replace(b"\n", b"\r\n\r\n"),
                          "bom": b"\xef\xbb\xbf" + lines, "array": array,
                          "bom array": b"\xef\xbb\xbf\n " + array,
                          "objects": b"\n".join(json.dumps(r, indent=2).encode() for r in MANY),
                          "gz": gzip.compress(lines), "gz array": gzip.compress(array)}[kind])
    return file


@pytest.mark.parametrize("kind", ["jsonl", "crlf", "bom", "array", "bom array", "gz", "gz array",
                                  "parquet", "feather", "arrow stream", "objects", *SIGNS, *WHOLE])
def test_all_files_hold_the_same_rows(kind: str, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(tmp_path, kind)
    assert [item.row for item in Reader(file)] == MANY
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert [item.row for item in Reader("-")] == MANY


@pytest.mark.parametrize(("data", "said"), [
    (b"\x28\xb5\x2f\xfd1234", "zstd"), (b"PK\x03\x04zip", "zip"), (b"BZh91AY", "bzip2"),
    (gzipped(b"{}" * 999)[:20], "damaged"), (gzipped(gzipped(b"{}")), "twice"),
    (b"PAR1 nonsense", "Parquet"), (b"ARROW1\0\0", "damaged Arrow"), (b"\x04\x22\x4d\x18..", "lz4"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "git lfs pull"),
    (b"\n<!DOCTYPE html><html>", "web page"), (b'[{"a": 1}, {"b": ', "row 2: not JSON"),
    (b'[{"a": 1} {"b": nope}]', "row 2: not JSON"), (b'[{"a": 1}', "not closed"),
    (b'[{"a": 1}]\n{"b": 2}', "follows the array"), (b'[{"a": "\xff"}]', "UTF-8")])
def test_a_file_that_is_not_read_to_its_end_is_one_line(data: bytes, said: str,
                                                        tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(data)
    with pytest.raises(UserError, match=said):
        list(Reader(file))


@pytest.mark.parametrize(("data", "fix"), [
    (b"- question: q\n", "Give JSONL"), (b"SQLite format 3\0", "as JSONL"),
    (b"PK\3\4 an Excel file", "xlsx.*Unpack it"), (b"a,b\nq,r\n", "CSV"),
    (b'{"q": 1}\n{"q": 2}', r"the row has: q\).*--columns names"),
    (b'{"q": 1}\nno', "--columns names"), (b'{"data": []}', "the row has: data")])
def test_the_advice_is_that_of_the_cause(data: bytes, fix: str, tmp_path: Path) -> None:
    """A file of another kind has no fields to be named."""
    file = tmp_path / "f"
    file.write_bytes(data)
    with pytest.raises(UserError, match=fix):
        list(traces(file))


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(tmp_path, "parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install .*\[parquet\]"):
        list(Reader(file))


def test_a_line_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drp_plugin.jsonl.MAX_ROW", 1 << 20)
    file = tmp_path / "f"
    file.write_bytes(json.dumps(ROW).encode() + b"\n" + b"x" * (2 << 20))
    with pytest.raises(UserError, match=r"row 2: is longer than 1 MiB"):
        list(Reader(file))
    with pytest.raises(UserError, match="is a device or a named pipe"):
        list(Reader("/dev/zero"))


@pytest.mark.parametrize("odd", [
    '{"question": "q", "meta": ' + "[" * 500 + "]" * 500 + "}",
    '{"question": "q", "meta": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}", '"text"', "[1]", "12"])
def test_odd_rows_are_rejects_and_the_others_go_on(odd: str, tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text("\n".join([json.dumps(ROW), odd, json.dumps({**ROW, "id": 2})]))
    one, reject, two = traces(file)
    assert isinstance(one, Trace) and isinstance(two, Trace) and two.id == "2"
    assert isinstance(reject, Reject) and reject.stage == "read"
    reject.model_dump_json()


def test_nulls_surrogates_and_numbers(tmp_path: Path) -> None:
    row = {**ROW, "id": 7, "dataset": None, "model": None, "messages": None, "reasoning": None,
           "question": QUESTION + "\ud800", "answer": float("nan"), "finish_reason": None}
    file = tmp_path / "f.jsonl"
    file.write_text(json.dumps(row))
    (found,) = traces(file)
    assert isinstance(found, Trace)
    assert (found.id, found.answer, found.finish) == ("7", None, "unknown")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-9e999", "1E+309"])
@pytest.mark.parametrize("form", ["{}\n{}", "[{},\n {}]", "{}\n"])
def test_a_number_that_is_none_is_missing_in_every_form(number: str, form: str,
                                                        tmp_path: Path) -> None:
    row = json.dumps({**ROW, "answer": 0, "more": [1e308]}, indent=1 if form == "{}\n" else None)
    row = row.replace(": 0,", f": {number},")
    (tmp_path / "f.json").write_text(form.replace("{}", row))
    for item in Reader(tmp_path / "f.json", say=lambda text: None):
        assert item.value is not None and item.value["answer"] is None, item
        assert item.row is not None and item.row["answer"] is None and item.row["more"] == [1e308]


def test_an_infinite_number_of_python_or_parquet_is_missing_too(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{**ROW, "id": str(x), "answer": x} for x in (float("inf"), float("-inf"), float("nan"))]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "f.parquet")
    for found in (drp_plugin.read(rows), drp_plugin.read(tmp_path / "f.parquet")):
        assert [trace.answer for trace in found] == [None] * 3


# -- layouts -------------------------------------------------------------------------------------

def test_columns(tmp_path: Path) -> None:
    row = {"text": {"q": [QUESTION]}, "mine": ANSWER, "why": THINKING, "truth": 7, "key": "k",
           "question": "another", "response": "another", "end": "MAX_TOKENS"}
    columns = parse_columns("question=text.q.0, response=mine,thinking=why,answer=truth,id=key,"
                            "finish=end")
    (item,) = read(tmp_path, row, columns=columns)
    assert {k: item.value[k] for k in ("id", "question", "answer", "response", "finish")} == {
        **ROW, "id": "k", "finish": "length"}
    for wrong in ("question", "questions=x", "question="):
        with pytest.raises(UserError, match="--columns: cannot read"):
            parse_columns(wrong)


@pytest.mark.parametrize(("value", "text"), [
    ("<thought>T</thought>A", "<think>\nT\n</think>\n\nA"),
    ("T</scratchpad>A", "<think>\nT\n</think>\n\nA"),
    ("<reason>cut", "<think>\ncut"), ("analysisTassistantfinalA", "<think>\nT\n</think>\n\nA"),
    ("<|channel|>analysis<|message|>cut", "<think>\ncut"),
    ("<|begin_of_text|><think>T</think>A<|eot_id|>\n", "<think>T</think>A"),
    # nothing of a family's: as it is
    ("<think>T</think>A\n", "<think>T</think>A\n"),
    (" x < y and [THINK] \n", " x < y and [THINK] \n"),
    # two blocks are left for the check of the shape to refuse
    ("<thought>T</thought>A<thought>U</thought>B", "<think>T</think>A<think>U</think>B")])
def test_tags_of_other_families(value: str, text: str) -> None:
    assert as_published(value) == text


def test_a_thought_and_the_students_own_answer_leave_no_gold(tmp_path: Path) -> None:
    row = {"question": QUESTION, "reasoning": THINKING, "answer": ANSWER}
    (item,) = read(tmp_path, row)
    assert item.value["response"] == RESPONSE and item.value["answer"] is None
    (item,) = read(tmp_path, row, answers=False)  # a question's own gold answer
    assert item.value["answer"] == "7"


def test_settings_are_no_thoughts_and_verdicts_no_golds(tmp_path: Path) -> None:
    for extra in ({"reasoning": "on"}, {"thinking": True}, {"reasoning": "medium"}):
        assert responses(tmp_path, {**ROW, "response": ANSWER, **extra}) == [ANSWER]
    for extra in ({"label": True}, {"label": "good"}, {"target": False}):
        (item,) = read(tmp_path, {"question": "q", "response": RESPONSE, **extra})
        assert item.value["answer"] is None


@pytest.mark.parametrize(("row", "said"), [
    ({"custom_id": "x", "response": None, "error": {"message": "no quota"}}, "failed: no quota"),
    ({"custom_id": "x", "response": {"status_code": 400, "body": {"error": {"message": "bad"}}}},
     "failed: bad"),
    ({"messages": [{"role": r, "content": "x"} for r in ("user", "assistant") * 2]},
     "several turns"), ({**ROW, "question": " "}, "is empty"),
    ({**ROW, "history": [["Hi", "Hello"]]}, "several turns"),
    ({**ROW, "question": [{"role": r, "content": "x"} for r in ("user", "assistant", "user")]},
     "several turns"),
    ({**ROW, "images": ["a.png"]}, "shows an image"), ({**ROW, "image": {"bytes": "x"}}, "image"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
                   {"role": "assistant", "content": RESPONSE}]}, "shows an image"),
    ({"prompt": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
      "response": RESPONSE}, "or sound"),
    ({"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": "x"}]},
     "'question' is missing (the row has: messages)"), ({**ROW, "answer": {}}, "'answer'")])
def test_rows_that_cannot_be_used_say_why(row: dict, said: str, tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text(json.dumps(ROW) + "\n" + json.dumps(row))
    _, reject = traces(file)
    assert isinstance(reject, Reject) and reject.reason is Reason.BAD_ROW
    assert reject.detail.startswith("row 2: ") and said in reject.detail


@pytest.mark.parametrize(("published", "final"), [
    ("", None), ("  ", None), ([], None), ([""], None), (None, None), (["7", "7"], "7"),
    (["7", "8"], None), (7.5, "7.5"), ("x \\fbox{7} y", "7"), ("a\n#### 1,234\n", "1,234"),
    ("####", None), ("[1, 2]", "[1, 2]"), ("Thus the final answer is $7$.", "7"),
    ("\\frac{1}{2}", "\\frac{1}{2}"), ("so</think>\\boxed{7}", "7"), ([7], "7")])
def test_golds(published: object, final: str | None) -> None:
    assert gold(published) == final


# -- how a completion ended ----------------------------------------------------------------------

@pytest.mark.parametrize(("word", "meaning"), [
    ("eos", "stop"), ("STOP", "stop"), ("FinishReason.STOP", "stop"), ("end_turn", "stop"),
    ("FINISH_REASON_STOP", "stop"), ("COMPLETE", "stop"), ("MAX_TOKENS", "length"),
    ("model_length", "length"), ("SAFETY", "refusal"), ("content-filter", "refusal"),
    ("insufficient_system_resource", "error"), ("OTHER", "error"), ("tool_calls", "error"),
    ("stop_sequences", "stop"), ("max_tokens_reached", "length"), ("contentFilter", "refusal"),
    ("MISSING_THOUGHT_SIGNATURE", "error"), ("load", "error"), ("repetition_truncation", "length"),
    (None, "unknown"), ("null", "unknown"), ("something new", "unknown"), (128001, "unknown")])
def test_words_for_the_end(word: object, meaning: str) -> None:
    assert ending(word) == meaning
    assert ended(word) is {"stop": True, "unknown": None}.get(meaning, False)


def test_no_word_has_two_meanings() -> None:
    words = [word for group in layouts("endings").values() for word in group]
    assert len(words) == len(set(words)) and all(word == word.lower() for word in words)


def test_the_end_is_found_under_every_name() -> None:
    assert told({"finish": "length"}) == told({"stop_reason": "length"}) == "length"
    # vLLM's stop_reason is a token, its finish_reason the word
    assert told({"stop_reason": 128009, "finish_reason": "stop"}) == "stop"
    assert told({"finish_reason": None}) is None
    for row in ({"meta_info": {"finish_reason": {"type": "length", "length": 9}}},
                {"incomplete_details": {"reason": "max_output_tokens"}}, {"stop_type": "limit"},
                {"details": {"finish_reason": "length"}}):
        assert ending(told(row)) == "length"
    assert told({"reason": "length"}) is None  # of a row it may be anything


def test_a_row_is_no_table(tmp_path: Path) -> None:
    """Only what cannot be a row is taken for several."""
    for row in ({**ROW, "data": [{"question": "no"}]}, {"messages": [
            {"role": "user", "content": QUESTION}, {"role": "assistant", "content": RESPONSE}],
            "answer": "7", "samples": [{"question": "no"}]},
            {"doc": {"query": QUESTION, "choices": ["7"], "gold_index": 0},
             "model_response": {"text": [RESPONSE]}, "metric": {"acc": 1}},
            {"prompt": [{"role": "user", "content": QUESTION}], "completion": [RESPONSE],
             "answer": ["7"]}):
        (item,) = read(tmp_path, row)
        assert (item.value["question"], item.value["answer"]) == (QUESTION, "7")


def test_cells_and_bytes(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_text("q,a,r\nx,7,</think>7\n1,2,3,4\n")
    good, bad = Reader(file, parse_columns("question=q,response=r,answer=a"))
    assert good.value["response"] == "</think>7" and "more cells than the head" in bad.error
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet
    parquet.write_table(pyarrow.table({"question": [QUESTION], "response": [RESPONSE.encode()]}),
                        file)
    (item,) = Reader(file)
    assert item.value["response"] == RESPONSE


@pytest.mark.parametrize(("row", "said"), [
    ({"truth": "7", "score": 1}, "--columns answer=FIELD (not read: truth, score)"),
    ({"key": "b", "usage": {"x": 1}}, "(not read: key)"), ({"id": "x", "source": "y"}, ""),
    ({"answer": "7", "truth": "7"}, "")])
def test_golds_that_nobody_found_are_asked_for(row: dict, said: str, tmp_path: Path) -> None:
    file, told = tmp_path / "f.jsonl", []
    file.write_text(json.dumps({"question": QUESTION, "response": RESPONSE, **row}))
    list(traces(Reader(file, say=told.append)))
    assert said in "".join(told) and bool(told) is bool(said)


# -- a result of nothing -------------------------------------------------------------------------

@pytest.mark.parametrize(("row", "graded", "right", "said"), [
    ({**ROW, "response": ANSWER}, 3, 3, "no response closes its thinking"),
    ({**ROW, "response": "<think>so", "finish_reason": "length"}, 3, 0,
     "every response was cut off while thinking"),
    ({**ROW, "response": "so", "stop_reason": "max_tokens"}, 0, 0, "a higher limit of tokens"),
    ({**ROW, "response": "so", "finish": "loop"}, 3, 0, "every response was cut off"),
    ({**ROW, "response": "so", "finish": "stop"}, 3, 0, "no response closes its thinking"),
    ({**ROW, "answer": "We see that the two are added and after that one more time. " * 3}, 3, 0,
     "are texts in which no final answer"), (ROW, 3, 0, "none of 3 graded answers is right"),
    (ROW, 3, 1, None), (ROW, 0, 0, None), ({**ROW, "answer": None}, 0, 0, None)])
def test_doubts(row: dict, graded: int, right: int, said: str | None, tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text((json.dumps(row) + "\n") * 3)
    reader = Reader(file)
    list(reader)
    doubt = reader.seen.doubt(graded, right)
    assert (doubt is None) if said is None else (said in (doubt or ""))
