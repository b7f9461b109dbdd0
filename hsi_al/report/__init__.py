"""Tables, pictures and comparisons of runs, made only from the files of their run directories."""
