"""The embedded student: a toy reasoning model of a few MB and the problems it can solve.

It exists so that the whole of DRP can be seen and tested without a hub and without a GPU. It was
trained from scratch on generated word problems (`problems`, and `scripts/student/` of a checkout),
and it knows nothing else.
"""

from pathlib import Path


def model_path() -> Path:
    """The folder of the shipped student, loadable by transformers and by vLLM."""
    return Path(__file__).parent / "model"
