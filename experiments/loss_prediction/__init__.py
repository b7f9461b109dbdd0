"""Why ranking by predicted loss helps or fails."""
