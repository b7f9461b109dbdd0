"""Benchmarks: speed and memory as ratios to references measured in the same run."""
