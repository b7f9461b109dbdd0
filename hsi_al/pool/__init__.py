"""The pixels to label and to test: splits, the label pool, initial draws and oracles (no torch)."""
