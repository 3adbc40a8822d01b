"""Sampling a student: one set of requests, one kind of completion, several engines. `drp generate`
and the lmms-eval models share them: training traces and evaluation come from the same code."""
