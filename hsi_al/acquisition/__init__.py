"""Acquisition functions: what to ask next. Pure functions on arrays, no torch and no files."""

# Keys of the configuration that wrap any of them; its name alone would stand for another method.
WRAPPERS = ("subset", "min_distance", "class_balance")
