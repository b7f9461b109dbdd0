"""File formats of scenes: each module lists the formats that it reads in `FORMATS`."""
