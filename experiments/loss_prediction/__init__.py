"""Why querying by predicted loss helps or fails."""
