"""What is said of a number of things, in the singular and in the plural."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from string import Formatter

import pytest

from drp_plugin.resources import filled, phrase, table

TEXTS = table("said.yaml")


@pytest.mark.parametrize("name", TEXTS)
def test_one_and_several_say_the_same_of_the_same_things(name):
    fields = [{field for _, field, _, _ in Formatter().parse(text) if field} - {"n"}
              for text in TEXTS[name]]
    assert fields[0] == fields[1] and TEXTS[name][0] != TEXTS[name][1]
    values = dict.fromkeys(fields[0], 9)
    assert not re.search(r"\b1 (?:\w+ )?(?:rows|requests|answers|pairs|files|documents|shards|"
                         r"traces|replies|completions|batches|attempts|verdicts)\b",
                         phrase(name, 1, **values))
    assert re.search(r"\b2\b", phrase(name, 2, **values)) or name == "failed"


def test_each_is_used():
    package = Path(filled.__code__.co_filename).parent
    used = subprocess.run(["grep", "-rhoE", r"phrase\(\s*[\"'](\w+)", package, "--include=*.py",
                           "--include=*.jinja"], capture_output=True, text=True).stdout
    assert set(re.findall(r"\w+$", used, re.M)) == set(TEXTS)
