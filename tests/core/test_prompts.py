import time

import pytest

from drp_plugin.errors import UserError
from drp_plugin.prompts import _VARIABLES, RENDER_CPU_S, Prompts


def test_a_missing_variable_is_an_error_not_an_empty_string(tmp_path):
    (tmp_path / "hello.jinja").write_text("Dear {{ name }}")
    prompts = Prompts(tmp_path)
    assert prompts.render("hello", name="Ada") == "Dear Ada"
    with pytest.raises(UserError, match="name"):
        prompts.render("hello", nome="Ada")


def test_own_folder_wins_and_changes_the_hash(tmp_path):
    shipped = Prompts()
    (tmp_path / "revise.jinja").write_text("one")
    own = Prompts(tmp_path)
    first = own.hash
    assert first != shipped.hash
    (tmp_path / "revise.jinja").write_text("two")
    assert Prompts(tmp_path).hash != first


def test_only_templates_in_force_count_for_the_hash(tmp_path):
    shipped = Prompts().hash
    (tmp_path / "extra.jinja").write_text("one")
    assert Prompts(tmp_path).hash == shipped
    (tmp_path / "revise.jinja").write_text("{% include 'extra.jinja' %}")
    first = Prompts(tmp_path).hash
    (tmp_path / "extra.jinja").write_text("two")
    assert Prompts(tmp_path).hash not in (shipped, first), "what is included is in force"
    Prompts(tmp_path).check([])


@pytest.mark.parametrize(("name", "says"), [
    ("decompose-skill.jinja", r"Call it decompose_skill\.jinja"), ("Judge.jinja", r"judge\.jinja"),
    ("revise.txt", r"Call it revise\.jinja"), ("README.md", r"no \*\.jinja"),
    (None, r"no \*\.jinja"),
])
def test_a_folder_that_overrides_nothing_is_one_line(tmp_path, name, says):
    if name:
        (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match=says):
        Prompts(tmp_path)


def test_copies_beside_the_real_one_are_no_mistake(tmp_path):
    for name in ("revise.jinja", "revise.jinja.bak", "revise.txt", "README.md"):
        (tmp_path / name).write_text("{{ question }}")
    (tmp_path / "eval_mine.jinja").write_text("a protocol's own")
    Prompts(tmp_path).check(["revise"])


@pytest.mark.parametrize(("name", "says"), [("revize", "Did you mean 'revise'"),
                                            ("xyz", "They are: .*judge")])
def test_a_file_that_no_prompt_is_called_is_named(tmp_path, name, says):
    (tmp_path / f"{name}.jinja").write_text("x")
    with pytest.raises(UserError, match=says) as caught:
        Prompts(tmp_path).check(["revise"])
    assert f"{name}.jinja" in str(caught.value)


@pytest.mark.parametrize(("text", "says"), [
    ("{{ question | nosuch }}", "nosuch"), ("{{ thinking }}", "It may use: answer, more"),
    ("{{ question / 2 }}", "TypeError"), ("{{ question() }}", "TypeError"),
    ("x{% if more %}{{ nosuch }}{% endif %}", "nosuch"), ("{{ steps[0].nosuch }}", "nosuch"),
    ("{# nothing #}", "empty"), ("na\xefve {{ question }}", "UTF-8"),
])
def test_a_prompt_is_tried_before_the_run(tmp_path, text, says):
    (tmp_path / "revise.jinja").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=says) as caught:
        Prompts(tmp_path).check(["revise"])
    assert "revise.jinja" in str(caught.value)
    Prompts(tmp_path).check(["distill"])


def test_the_shipped_prompts_use_no_more_than_the_trial_gives():
    shipped = Prompts()._shipped
    assert set(_VARIABLES) == {n for n in shipped if not n.startswith(("eval_", "chat_"))}
    Prompts().check(_VARIABLES)


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


@pytest.mark.parametrize("text", [
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{{ ''.__class__.__mro__ }}",
    "{{ question.__class__.__base__.__subclasses__() }}", "{{ range(999999999) | list }}",
    "{{ lipsum.__globals__ }}"])
def test_a_prompt_runs_no_code(tmp_path, text):
    (tmp_path / "distill.jinja").write_text(text)
    with pytest.raises(UserError, match=r"distill\.jinja"):
        Prompts(tmp_path).render("distill", question="q")


@pytest.mark.parametrize("text", [
    "{{ ('<!--' * 1000000) | striptags }}", "{{ ('a' * 100000000) | wordwrap(1) | length }}",
    "{{ ['a' * 9000000] | map('urlize') | list }}", "{% filter pprint %}a{% endfilter %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{{ (range(99999) | list * 900) | sort | length }}", "{{ ('a ' * 90000000) | title | length }}",
    "{{ ('&' * 90000000) | e | length }}", "{{ range(99999) | map('string') | join | int }}"])
def test_a_prompt_is_stopped_before_long(tmp_path, text):
    """By the clock of its own thread: a machine that has much to do takes longer."""
    (tmp_path / "judge.jinja").write_text(text)
    begun = time.thread_time()
    with pytest.raises(UserError, match=r"judge\.jinja"):
        Prompts(tmp_path).check(["judge"])
    assert time.thread_time() - begun < 3 * RENDER_CPU_S
