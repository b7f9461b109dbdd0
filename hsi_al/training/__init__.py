"""Training and scoring on a device through Lightning, for whatever module; it knows no method."""
