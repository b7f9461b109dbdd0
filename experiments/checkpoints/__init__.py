"""Accuracy along the epochs of a training."""
