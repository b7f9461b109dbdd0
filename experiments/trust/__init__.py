"""How trustworthy the package is: kills, damaged files, random command lines, and scarce resources."""
