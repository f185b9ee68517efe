"""Crystals: cells, symmetry, matching, and conversion to other formats."""
