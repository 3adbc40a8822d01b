"""Seeing and mending a run by hand: `drp inspect`, and the edits that flow back into `drp build`.

| file | what |
|---|---|
| `run_statistics` | what a run did, in numbers |
| `page` with `.html`, `.css`, `.js` | one self-contained page; text is data, never markup |
| `edits` | `edits.jsonl`: accepted, rejected and rewritten rows |
"""
