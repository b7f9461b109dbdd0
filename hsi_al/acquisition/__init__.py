"""Acquisition functions: what to ask next. Pure functions on arrays, no torch and no files."""
