"""Powder patterns: read them, simulate them, and fit crystals to them. Angles are two theta in degrees."""
