"""Interface to moyopy: symmetry search of a crystal, and the operations of a space group."""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.structure.crystal import Crystal

Array = NDArray[np.float64]
LOOSEST = 0.1  # angstrom
_FOUND: WeakKeyDictionary[Crystal, dict[tuple[float, bool], Any]] = WeakKeyDictionary()


def moyo_dataset(crystal: Crystal, *, symprec: float, standard: bool = False) -> Any:
    """Return moyopy's dataset of a crystal, cached for its lifetime, or None if the search fails.

    Args:
        symprec: angstrom, up to `LOOSEST`: moyopy may never end and exhaust the memory if the tolerance is large
            relative to the cell.
        standard: use the standard setting of the International Tables instead of spglib's choice.

    Raises:
        ValueError: the tolerance is larger.
    """
    if symprec > LOOSEST:
        raise ValueError(f"moyopy may never end at a tolerance of {symprec} angstrom; use at most {LOOSEST}.")
    known = _FOUND.setdefault(crystal, {})
    if (symprec, standard) not in known:
        known[symprec, standard] = _searched(crystal, symprec, standard)
    return known[symprec, standard]


def _searched(crystal: Crystal, symprec: float, standard: bool) -> Any:
    """Return moyopy's dataset, or None if the search fails."""
    moyopy = _quiet_moyopy()
    cell = moyopy.Cell(crystal.lattice.tolist(), crystal.frac_coords.tolist(), crystal.atomic_numbers.tolist())
    setting = moyopy.Setting.standard() if standard else None
    try:
        return moyopy.MoyoDataset(cell, symprec=symprec, setting=setting)
    except Exception:  # moyopy raises its own untyped errors where no group is consistent with the tolerance
        return None


@cache
def _quiet_moyopy() -> ModuleType:
    """Return moyopy, which would otherwise warn about every centred cell."""
    import moyopy

    logging.getLogger("moyo").setLevel(logging.ERROR)
    return moyopy


def normalizer_cosets(dataset: Any) -> list[Any] | None:
    """Return changes of origin or axes that preserve the setting, each with the Wyckoff positions of the sites.

    Returns:
        None if moyopy finds none.
    """
    try:
        return list(dataset.normalizer_wyckoff_positions().coset_representatives)
    except Exception:  # moyopy raises its own untyped errors where no group is consistent with the tolerance
        return None


def group_operations(number: int) -> tuple[Float[Array, "g 3 3"], Float[Array, "g 3"]]:
    """Return W and w of each operation of a space group in the conventional basis, centring included."""
    import moyopy

    found = moyopy.operations_from_number(number, setting=moyopy.Setting.standard())
    return np.array(found.rotations, dtype=np.float64), np.array(found.translations, dtype=np.float64)
