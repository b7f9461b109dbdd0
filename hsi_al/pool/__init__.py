"""Who may be labelled, who is, and who is tested: label pool, splits, initial draws, oracles (numpy only)."""
