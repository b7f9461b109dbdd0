"""Tables and pictures of a run, made from the files of its run directory."""
