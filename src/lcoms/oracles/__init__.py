"""Energy models behind one interface: crystals in, energies, forces and stresses out."""
