import io
import os

import pytest

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.records import Question


def test_round_trip_keeps_unicode(tmp_path):
    file = tmp_path / "q.jsonl"
    question = Question(id="1", question="Wie groß ist \\frac{1}{2} — 数?", answer="½")
    assert jsonl.write(file, [question]) == 1
    assert list(jsonl.read(file, Question)) == [question]
    assert "数" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"id": "1", "question": "x"}\nnonsense\n', ["row 2", "not JSON"]),
        ("[1, 2]\n", ["row 1", "not a JSON object"]),
        ('{"id": "1"}\n', ["row 1", "'question' is missing"]),
        ('{"id": 1, "question": "x"}\n', ["row 1", "'id'"]),
    ],
)
def test_a_bad_row_is_named(tmp_path, content, words):
    file = tmp_path / "bad.jsonl"
    file.write_text(content)
    with pytest.raises(UserError) as error:
        list(jsonl.read(file, Question))
    assert all(word in str(error.value) for word in [*words, "bad.jsonl"])
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "wide.jsonl").write_text('{"id": "1"}\n', encoding="utf-16")
    for path, word in [("none.jsonl", "no such file"), (".", "folder"), ("wide.jsonl", "UTF-16")]:
        with pytest.raises(UserError, match=word):
            list(jsonl.rows(tmp_path / path))


def test_odd_bytes_and_values_cost_their_row_only(tmp_path):
    file = tmp_path / "odd.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": "\xe9"}\n{"a": ' + b"1" * 5000
                     + b'}\n{"a": NaN}\n{"a": "\xe2\x80\xa8\\u0000"}')
    first, latin, long, missing, separators = jsonl.rows(file)
    assert first == (1, {"a": 1}, None, '{"a": 1}')
    assert latin[:2] == (3, None) and latin.error == "not UTF-8 text (byte 8 of the row)"
    assert latin.text == '{"a": "\ufffd"}'
    assert long[:2] == (4, None) and "not JSON" in long.error
    assert missing.value == {"a": None}  # as pandas writes a missing value
    assert separators.value == {"a": "\u2028\0"}


def test_standard_input_is_read_alike(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a": "\xff"}\n{"a": 2}\n')))
    assert [row.value for row in jsonl.rows("-")] == [None, {"a": 2}]


def test_a_link_stays_a_link(tmp_path):
    """Others may share the file that it points to."""
    shared = tmp_path / "shared" / "info.json"
    shared.parent.mkdir()
    shared.write_text("old")
    link = tmp_path / "info.json"
    link.symlink_to(shared)
    with jsonl.replacing(link) as file:
        file.write("new")
    assert link.is_symlink() and shared.read_text() == "new"


def test_deep_nesting_is_a_bad_row_not_a_crash(tmp_path):
    file = tmp_path / "deep.jsonl"
    file.write_text("[" * 200_000 + "\n")
    (row,) = jsonl.rows(file)
    assert row.value is None and "not JSON" in row.error


def test_a_lone_surrogate_can_be_written(tmp_path):
    file = tmp_path / "s.jsonl"
    jsonl.write(file, [{"a": "\ud800"}])
    assert next(jsonl.rows(file)).value == {"a": "?"}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "out.jsonl"
    jsonl.write(file, [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        jsonl.write(file, rows())
    assert [row.value for row in jsonl.rows(file)] == [{"a": 1}]
    assert [f.name for f in tmp_path.iterdir()] == ["out.jsonl"]


def test_devices_pipes_and_folders_are_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, tmp_path, "/dev/null"):
        with pytest.raises(UserError, match="is not a file"):
            jsonl.write(place, [{"a": 1}])
    assert pipe.is_fifo()
