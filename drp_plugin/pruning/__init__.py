"""Decompose, revise, verify: from a trace to a pruned response (§3.1, §3.2).

| file | the paper's word for it |
|---|---|
| `decompose`, `steps` | D(T) → (s_i, k_i), and how much of T the steps hold |
| `revise`, `steps` | Revise(s_i) → ŝ_i, the synthesis T̂, the revised answer part Â |
| `indexed` | both in one structured reply, over numbered units of T |
| `flow`, `numbers` | all of it for one trace, and what a pruned response must be |
| `dialogue` | what the stages hand to one another, and the row's talk with the teacher |
"""
