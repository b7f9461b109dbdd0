"""Code that the commands share: composing a configuration, sweeps, exit codes, error messages."""
