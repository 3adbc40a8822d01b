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


def test_missing_file_folder_and_bytes(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9"}\n')
    for path, word in [("none.jsonl", "no such file"), (".", "folder"), ("latin.jsonl", "UTF-8")]:
        with pytest.raises(UserError, match=word):
            list(jsonl.rows(tmp_path / path))


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
