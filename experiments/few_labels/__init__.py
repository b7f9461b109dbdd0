"""Few labels, and which learner for which question: the page `docs/few-labels.md`."""
