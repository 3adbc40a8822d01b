"""`drp check`: prove a training YAML right before GPU time is spent."""
