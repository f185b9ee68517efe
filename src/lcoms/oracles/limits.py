"""Crystals that no learned model here evaluates, and the sentences that say so."""

CLOSEST = 0.1  # angstrom; the models are meaningless for closer atoms
MOST_IMAGES = 1e6  # atoms of the images of a cell within the cutoff, which flat cells have
TOO_CLOSE = f"two atoms are closer than {CLOSEST} angstrom."
TOO_DENSE = "the cell is too dense or too flat: an atom would have thousands of neighbours."
