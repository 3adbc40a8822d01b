"""DRP, Distilled Reasoning Pruning: shorter chains of thought for LLaMA-Factory and lmms-eval.

| paper | where |
|---|---|
| §3 R = (T, A), steps, skills, actions, R̂ | `records`, `thinking` |
| §3.1 the student's own traces | `sampling` |
| §3.1 skill-based step decomposition; §6.1 | `pruning.decompose`, `pruning.steps` |
| §3.2 KEEP, DELETE, COMPRESS, MERGE, T̂, Â | `pruning.revise` |
| beyond the paper: both in one reply; what R̂ must be | `pruning.indexed`; `pruning.flow` |
| §3.3, Appendix B: the SFT set, checks before training | `training`, `llamafactory_configs/` |
| §4.2, §6.3 teachers | `teachers`, `llm` |
| §4.3 compared methods; §6.2 direct distillation | `methods`, `recipes/` |
| §4.5, §4.6 Pass@1, tokens, the 12k cutoff | `evaluation`, `scoring`, `grading`, `tokens` |
| §5, §6, Appendix A: tables and figures | `report` |
| Appendix C: the prompts; Appendix D: the judge | `prompts/`; `inspection.pairwise` |

`__init__.pyi` names what a script imports from here (docs/python.md); nothing heavy is loaded yet.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
