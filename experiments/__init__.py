"""What reproduces, measures and records; not installed with the package."""
