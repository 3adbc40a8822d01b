"""Decompose, revise, verify: from a trace to a pruned response (§3.1, §3.2)."""

from typing import Literal

from pydantic import Field

from drp_plugin.llm.messages import Sampling
from drp_plugin.records import Record

Mode = Literal["skill", "default", "sentence", "indexed"]


class PruneOptions(Record, extra="forbid"):
    """Settings of decompose, revise and verify. The paper's code checks nothing; every check here
    is ours, is on by default, and has a switch."""

    teacher: str = "offline:rules"  # Who prunes: written into every pruned row
    decompose: Mode = "skill"
    """`skill`: Appendix C. `default`: §6.1's ablation. `sentence`: Appendix D's baseline, no
    request. `indexed`: numbered units, both stages in one structured reply."""
    sampling: Sampling = Sampling()
    window_tokens: int = Field(default=8000, ge=50)
    """Longest part of T in one request, in tokens of the run's tokenizer. A longer T goes
    through in several, cut where a step ends. GPT-4o writes at most 16,384 tokens, and `skill`
    writes T anew with a skill for each step."""
    repairs: int = Field(default=1, ge=0)
    """How often a reply out of format is sent back with the error named."""
    max_requests: int = Field(default=96, ge=1)
    """For one trace; more end in a reject, so that no teacher can run up a bill on one row."""

    min_coverage: float = Field(default=0.9, ge=0, le=1)
    """Least share of T's non-space characters that the steps must hold; 0 switches it off."""
    keep_wrong: bool = False
    """Let through traces whose final answer is missing or not gold's, as the paper's code does."""
    check_answer: bool = True
    """T̂ and Â end with the trace's final answer (and so with gold where the trace has it)."""
    check_numbers: bool = True
    """No number in T̂ that T and the question do not hold, unless right arithmetic gives it."""
    check_length: bool = True  # R̂ has no more tokens than R
    check_complete: bool = True  # T̂ ends where a sentence or formula ends
    check_language: bool = True  # T̂ is in T's language
