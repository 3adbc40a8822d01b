"""DRP, Distilled Reasoning Pruning: shorter chains of thought for LLaMA-Factory and lmms-eval.

docs/extending.md says which module holds which part of the paper. A script or notebook imports what
`__init__.pyi` names from here (docs/python.md): `import drp_plugin` itself loads nothing heavy.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
