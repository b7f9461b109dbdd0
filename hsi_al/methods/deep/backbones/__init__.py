"""Networks on patches: one file each, which lists what it can build in `NETWORKS`."""
