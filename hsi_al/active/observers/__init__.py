"""Observers of a run: console output, W&B, TensorBoard."""
