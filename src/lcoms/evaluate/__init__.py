"""Measurements: how well trained weights do, always with their intervals."""
