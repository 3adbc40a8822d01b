"""DRP, Distilled Reasoning Pruning: shorter chains of thought for LLaMA-Factory and lmms-eval.

| paper | where |
|---|---|
| §3 R = (T, A), steps, skills, actions, R̂ | `records`, `thinking` |
| §3.1 the student's own traces | `sampling` |
| §3.1 skill-based step decomposition | `pruning.decompose`, `pruning.steps` |
| §3.2 KEEP, DELETE, COMPRESS, MERGE and the synthesis | `pruning.revise` |
| both in one request (beyond the paper) | `pruning.indexed` |
| what a pruned response must be (beyond the paper) | `pruning.flow` |
| §3.3, Appendix B: the SFT set, checks before training | `training`, `llamafactory_configs/` |
| §4.2, §6.3 teachers | `teachers`, `llm` |
| §4.3 compared methods; §6.2 direct distillation | `methods`, `recipes/` |
| §4.5, §4.6 Pass@1, tokens, the 12k cutoff | `evaluation`, `scoring`, `grading`, `tokens` |
| §5, §6, Appendix A: tables and figures | `report` |
| §6.1 ablations of the decomposition | `pruning` (`--decompose`) |
| Appendix C: the prompts | `prompts/` |
| Appendix D: the pairwise judge | `inspection.pairwise` |

A script or notebook imports what `__init__.pyi` names from here (docs/python.md). It is loaded on
use: `import drp_plugin` itself loads nothing heavy.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
