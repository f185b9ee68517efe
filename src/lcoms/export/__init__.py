"""Input files of other codes for a crystal, from pymatgen and ASE; pseudopotentials are named, never copied."""
