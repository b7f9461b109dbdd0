"""Acquisition functions, which select the pixels to label next: pure functions on arrays, no torch and no files."""
