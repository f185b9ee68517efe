"""Lattice vibrations in the harmonic approximation, with phonopy and any energy model (extra `phonons`)."""
