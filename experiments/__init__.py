"""Scripts that reproduce the paper, measure the framework and record results; not installed with the package."""
