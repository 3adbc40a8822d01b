"""What is known of each data set: the rule that it is graded by, and golds that look wrong."""

import re
from typing import Literal, cast

from drp_plugin.records import Record
from drp_plugin.resources import table

_TABLES = table("grading.yaml")["tables"]

Rule = Literal["number", "integer", "choice", "symbolic"]


class Suspect(Record):
    """An official answer that does not follow from its question; it stays in force all the same."""

    dataset: str
    split: str
    index: int  # Row of the official file, from 0
    official: str
    suspected: str
    why: str


def _base_name(dataset: str) -> str:
    """drp_gsm8k, GSM8K-test and gsm8k_test all begin with gsm8k here."""
    return re.sub(r"[^a-z0-9]+", "_", dataset.lower()).removeprefix("drp_")


def rule_of(dataset: str | None) -> Rule:
    """The rule for a set's name, as a task (drp_gsm8k), a file (gsm8k_test) or plain (gsm8k).

    `number`: exact decimal value after commas, currency and units. `integer`: the same, and the
    gold may be written as a float (AMC) or the candidate with leading zeros (AIME). `choice`: the
    letter of a multiple choice. `symbolic`: any mathematical object, and sets that are not known.
    """
    name = _base_name(dataset or "")
    return cast(Rule, next((rule for prefix, rule in _TABLES["rules"].items()
                            if name.startswith(prefix)), "symbolic"))


def suspects(dataset: str) -> tuple[Suspect, ...]:
    """The suspect golds of a set, by any of its names."""
    return tuple(Suspect(**entry) for entry in _TABLES["suspect_golds"]
                 if _base_name(dataset).startswith(entry["dataset"]))
