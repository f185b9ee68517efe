"""Predictions for thousands of formulas on many processes or a cluster: durable one by one, resumable."""
