"""Learners: whatever fits labelled pixels and says something about pixels runs through the same loop."""
