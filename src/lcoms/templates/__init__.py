"""Known crystals whose structures other compositions may take."""
