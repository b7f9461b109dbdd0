"""What commands share: composing a configuration, sweeps, exit codes, sentences for errors."""
