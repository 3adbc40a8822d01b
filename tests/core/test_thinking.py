from hypothesis import given
from hypothesis import strategies as st

from drp_plugin.thinking import Split, join_response, split_response


def test_full_response():
    assert split_response("<think>\nT\n</think>\n\nA") == Split("T", "A", True)


def test_prefilled_opening_tag_may_be_missing():
    assert split_response("T\n</think>\n\nA") == Split("T", "A", True)


def test_cut_off_response_has_no_answer():
    assert split_response("<think>\nthe answer is 5") == Split("the answer is 5", "", False)


def test_the_last_closing_tag_counts():
    split = split_response("<think>he wrote </think> and 5\n</think>\n\n7")
    assert split == Split("he wrote </think> and 5", "7", True)


def test_empty_thinking():
    assert split_response("<think>\n\n</think>\n\n7") == Split("", "7", True)


text = st.text().map(str.strip).filter(lambda t: "</think>" not in t and not t.startswith("<think"))


@given(text, text)
def test_join_then_split_gives_both_parts_back(thinking, answer):
    assert split_response(join_response(thinking, answer)) == Split(thinking, answer, True)


@given(st.text(alphabet="<think/> \nab"))
def test_any_text_splits(response):
    split = split_response(response)
    assert split.complete == ("</think>" in response)
    assert split.complete or split.answer == ""
