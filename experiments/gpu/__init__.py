"""What a GPU makes of training and scoring: measure.sh runs everything, one file of results per step."""
