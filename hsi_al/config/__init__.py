"""The configuration: which keys there are, which values go together, and what earlier runs were configured to do."""
