"""The configuration: its keys, the checks of their values, and the configurations kept in run directories."""
