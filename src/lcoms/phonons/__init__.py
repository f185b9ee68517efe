"""Lattice vibrations in the harmonic approximation, by phonopy and any energy model (extra `phonons`)."""
