"""Networks on patches. Each file lists the networks that it can build by name in `NETWORKS`."""
