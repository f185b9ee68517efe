"""From a composition to ranked crystals."""
