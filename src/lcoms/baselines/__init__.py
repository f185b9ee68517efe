"""Baseline searches without trained weights, for comparison."""
