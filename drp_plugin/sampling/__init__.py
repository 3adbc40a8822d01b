"""Sampling a student: one set of requests, one kind of completion, several engines.

`base` has the values, `run` goes through a ledger, and each engine is a module of its own:
`hf` (transformers, CPU or GPU), `vllm` (the real vLLM in this process), `endpoint`
(OpenAI-compatible servers) and `cluster` (Ray Data). Both `drp generate` and the lmms-eval
models use them, so that training traces and evaluation come out of the same code.
"""
