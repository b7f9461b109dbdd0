"""The active learning loop, its curve, its run directory and its observers."""
