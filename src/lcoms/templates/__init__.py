"""Templates: known crystals whose structures other compositions may adopt."""
