"""Sampling a student: one set of requests, one kind of completion, several engines.

`completions` has the values, `through_ledger` draws and keeps, `traces` is `drp generate`, and
each engine is a module of its own: `transformers_engine` (CPU or GPU), `vllm_engine` (the real vLLM
in this process), `endpoint` (OpenAI-compatible servers) and `cluster` (Ray Data). Both `drp
generate` and the lmms-eval models use them, so that training traces and evaluation come out of the
same code.
"""
