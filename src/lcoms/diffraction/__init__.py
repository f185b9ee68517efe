"""Powder diffraction patterns: reading, simulation, and fits of crystals to them. Angles are two theta in degrees."""
