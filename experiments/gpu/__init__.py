"""Training and scoring measured on a GPU: measure.sh runs all steps and writes one file of results per step."""
