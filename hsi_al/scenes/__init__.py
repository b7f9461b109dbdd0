"""What a hyperspectral scene is and where it comes from (numpy, scipy and h5py only)."""
