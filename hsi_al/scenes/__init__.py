"""Hyperspectral scenes: the `Scene` class, the catalogue of public scenes, and readers of scene files (no torch)."""
