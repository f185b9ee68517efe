"""Inputs of other codes for a crystal, by pymatgen's and ASE's writers; pseudopotentials are named, never copied."""
