"""From pruned rows to a trained student: data sets, configs, preflight for LLaMA-Factory (§3.3)."""
