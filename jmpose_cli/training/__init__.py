"""Training: prepare, fit, validate."""
