"""Tests of what measures and records."""
