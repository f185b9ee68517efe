"""Crystals: cells, symmetry, matching, and the door to other formats."""
