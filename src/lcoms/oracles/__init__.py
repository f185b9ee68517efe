"""Energy models behind one interface: energies, forces and stresses of crystals."""
