"""Training recipes compared."""
