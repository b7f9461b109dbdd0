"""Kinds of scene files: one file each, which lists what it can read in `FORMATS`."""
