"""Training and scoring of any network through Lightning, on a CPU or GPU; nothing here depends on a learner."""
