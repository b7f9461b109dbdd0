#!/bin/sh
# Stops what start_slurm.sh started.
grep -qs '^ClusterName=hsi_al_local' /etc/slurm/slurm.conf || { echo "This SLURM is not that of start_slurm.sh."; exit 1; }
pkill -x slurmd
pkill -x slurmctld
pkill -x munged
