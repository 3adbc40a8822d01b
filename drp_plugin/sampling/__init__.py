"""Sampling a student: one set of requests, one kind of completion, several engines.
`drp generate` and the lmms-eval models both use them: training traces and evaluation come out of
the same code."""
