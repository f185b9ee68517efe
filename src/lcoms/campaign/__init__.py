"""Predictions for thousands of formulas on many processes or a cluster, each stored durably; resumable."""
