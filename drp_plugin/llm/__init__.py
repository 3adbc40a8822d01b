"""Talking to any model over the wire, with a ledger: nothing is asked twice, nothing is lost.

| file | what |
|---|---|
| `messages` | what is asked and said, and what a teacher is |
| `openai_client`, `gemini_client` | the providers' own libraries, live and in batches |
| `remote` | what they have in common |
| `blame` | whose fault an error is: the account's, the run's, the row's, the moment's |
| `retry`, `limiter` | patience, and how many requests are in flight |
| `ledger`, `ledger_disk`, `ledger_client` | replies on disk before anything uses them |
| `prices` | money |
| `addresses` | where requests go, and with which key |
"""
