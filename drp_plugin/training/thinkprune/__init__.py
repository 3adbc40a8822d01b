"""ThinkPrune (Hou et al., 2025), the reinforcement-learning baseline of §4.3, with TRL's GRPO."""
