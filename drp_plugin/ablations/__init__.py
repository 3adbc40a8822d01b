"""The paper's comparisons: direct distillation (§6.2) and the pairwise judge (Appendix D)."""
