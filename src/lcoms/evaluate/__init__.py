"""Evaluation of trained weights, always with confidence intervals."""
