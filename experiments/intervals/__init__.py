"""How often the 95 % intervals of an accuracy check hold the true value."""
