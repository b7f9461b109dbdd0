#!/bin/sh
# Stops what start_slurm.sh started.
pkill -x slurmd
pkill -x slurmctld
pkill -x munged
