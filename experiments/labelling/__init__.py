"""Sessions of the labelling page with the ground truth as the person."""
