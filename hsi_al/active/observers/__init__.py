"""Who is told about a run: the screen, W&B, TensorBoard."""
