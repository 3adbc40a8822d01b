"""What reaches a model as generation kwargs: read, or refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from drp_plugin.errors import UserError
from drp_plugin.evaluation.task_protocol import Generation, cut_at, stops

#: What a greedy task of ours hands over.
GREEDY = {"max_new_tokens": 131072, "do_sample": False, "temperature": 0.0, "top_p": 1.0,
          "until": []}


def read(**given: Any) -> Generation:
    return Generation.read({**GREEDY, **given}, "drp_hf")


def test_greedy_and_sampled() -> None:
    assert read() == Generation(0.0, 1.0, None, 131072, None)
    assert read(do_sample=True, temperature=0.6, top_p=0.95, top_k=20, seed=3,
                max_new_tokens=50) == Generation(0.6, 0.95, 20, 50, 3)
    # greedy has no use for what a sampled task sets beside the temperature
    assert read(do_sample=True, temperature=0, top_p=0.95, top_k=20) == read()
    assert Generation.read({"temperature": 0.7}, "drp_hf") == Generation(0.7, 1.0, None, 1024, None)


@pytest.mark.parametrize(("given", "said"), [
    ({"temprature": 0.9}, "of drp_hf has no argument 'temprature'. Did you mean 'temperature'?"),
    ({"repetition_penalty": 1.5}, "no argument 'repetition_penalty'"),
    ({"num_beams": 4}, "no argument 'num_beams'"),
    ({"temperature": 0.9}, "temperature=0.9 has no effect with do_sample=False"),
    ({"temperature": 0.9, "do_sample": None}, "no effect with do_sample=False"),
    ({"temperature": "hot", "do_sample": True}, "temperature=hot must be a number of at least 0"),
    ({"temperature": -1, "do_sample": True}, "temperature=-1 must be a number"),
    ({"temperature": float("inf"), "do_sample": True}, "temperature=inf must be a number"),
    ({"top_p": 1.5}, "top_p=1.5 must be a number from 0 to 1"),
    ({"top_p": 0, "temperature": 0.6, "do_sample": True}, "top_p=0 keeps no token to draw from"),
    ({"top_p": "0.0", "temperature": 1, "do_sample": True}, "top_p=0 keeps no token"),
    ({"until": '["a"'}, 'until=["a" is neither text nor a list of texts in JSON'),
    ({"until": r"\n\n"}, "neither text nor a list"),
    ({"until": [1]}, "must be text or a list of texts"),
    ({"top_k": "many"}, "top_k=many must be a whole number"),
    ({"do_sample": "maybe"}, "do_sample=maybe must be True or False"),
    ({"max_new_tokens": float("inf")}, "max_new_tokens=inf must be a whole number"),
    ({"max_gen_toks": "x"}, "max_gen_toks=x must be a whole number"),
    ({"seed": "x"}, "seed=x must be a whole number of at least 0"),
    ({"until": 5}, "until=5 must be text or a list of texts"),
])
def test_mistakes_are_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as raised:
        read(**given)
    assert said in str(raised.value)


def test_stop_strings_are_met_however_they_are_given() -> None:
    """--gen_kwargs hands over text alone."""
    for given in ('["\\n\\n"]', ["\n\n"], "\n\n", ("\n\n",)):
        assert stops(given) == ["\n\n"], given
        assert cut_at("a\n\nb\n\nc", stops(given)) == "a"
    assert stops(None) == stops([]) == stops("") == []


def test_what_tasks_of_lmms_eval_hand_over_is_taken() -> None:
    """Their images' keys, and beams and penalties that change nothing."""
    assert read(num_beams=1, image_aspect_ratio="original", repetition_penalty=None, top_p=None,
                top_k=-1, until=["</s>"], system_prompt="", visual_cot=True, min_pixels=691200,
                max_agentic_steps=8) == read()
    assert read(top_p=0) == read()  # several of them write that out beside greedy decoding
    assert read(max_gen_toks=30).max_new_tokens == 30
    assert read(max_gen_toks=30, max_new_tokens=20).max_new_tokens == 20
