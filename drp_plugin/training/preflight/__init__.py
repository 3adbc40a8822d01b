"""`drp check`: prove a training YAML right before GPU time is spent."""

from drp_plugin.training.preflight.findings import Finding, Level, Preflight

__all__ = ["Finding", "Level", "Preflight"]
