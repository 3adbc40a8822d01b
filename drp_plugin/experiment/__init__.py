"""The whole DRP loop on a CPU, through the same commands that a real run uses."""
