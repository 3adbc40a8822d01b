"""Talking to any model over the wire, with a ledger: nothing is asked twice, none is lost.

| file | what |
|---|---|
| `messages` | what is asked and said, and what a teacher is |
| `openai_client`, `gemini_client` | the providers' own libraries; `openai_batch`, `gemini_batch` |
| `retry`, `limiter` | patience, and how many requests are in flight |
| `ledger`, `ledger_client` | replies on disk before anything uses them |
| `budget`, `prices` | money |
| `addresses`, `redact` | where requests go, with which key, and that no key is shown |
"""
