"""Sampling a student: one set of requests, one kind of completion, several engines.

`completions` has the values, `through_ledger` draws and keeps, `traces` is `drp generate`; the
engines are `transformers_engine` (CPU or GPU), `vllm_engine` (the real vLLM in this process),
`endpoint` (OpenAI-compatible servers) and, in `engines`, Ray Data. `drp generate` and the lmms-eval
models both use them: training traces and evaluation come out of the same code.
"""
