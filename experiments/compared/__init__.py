"""Why a compared method is off its published accuracy: its open choices varied, one at a time."""
