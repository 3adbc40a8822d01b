"""Distilled Reasoning Pruning for LLaMA-Factory and lmms-eval."""

__version__ = "0.1.0"
