import pytest

from drp_plugin.errors import UserError
from drp_plugin.prompts import Prompts


def test_a_missing_variable_is_an_error_not_an_empty_string(tmp_path):
    (tmp_path / "hello.jinja").write_text("Dear {{ name }}")
    prompts = Prompts(tmp_path)
    assert prompts.render("hello", name="Ada") == "Dear Ada"
    with pytest.raises(UserError, match="name"):
        prompts.render("hello", nome="Ada")


def test_own_folder_wins_and_changes_the_hash(tmp_path):
    shipped = Prompts()
    (tmp_path / "extra.jinja").write_text("one")
    own = Prompts(tmp_path)
    first = own.hash
    assert first != shipped.hash
    (tmp_path / "extra.jinja").write_text("two")
    assert Prompts(tmp_path).hash != first


def test_an_evaluation_prompt_leaves_the_teachers_hash_alone(tmp_path):
    """Else an edit of the evaluation would ask every row of a pruning run anew."""
    shipped = Prompts()
    (tmp_path / "eval_boxed.jinja").write_text("{{ question }}")
    own = Prompts(tmp_path)
    assert own.hash == shipped.hash
    assert own.evaluation_hash != shipped.evaluation_hash


def test_broken_template_and_missing_folder_are_one_line(tmp_path):
    (tmp_path / "bad.jinja").write_text("{% if %}")
    with pytest.raises(UserError, match=r"bad\.jinja"):
        Prompts(tmp_path).render("bad")
    with pytest.raises(UserError, match="no such folder"):
        Prompts(tmp_path / "nowhere")
    with pytest.raises(UserError, match="missing"):
        Prompts(tmp_path).render("nosuch")
