"""Searches that need no trained weights, for comparison."""
