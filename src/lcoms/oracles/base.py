"""The interface of every energy oracle, and the record it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.core.errors import OracleError
from lcoms.structure.crystal import Composition, Crystal

OK = "ok"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of an oracle for one crystal.

    Attributes:
        energy: eV, of the whole cell.
        forces: eV/angstrom, rows in the order of the atoms.
        stress: eV/angstrom^3, dE/d(strain) over the volume: positive if the cell tends to shrink (as in ASE).
        status: "ok", or one sentence on what went wrong; the numbers are then NaN.
    """

    energy: float
    forces: Float[NDArray[np.float64], "n_atoms 3"]
    stress: Float[NDArray[np.float64], "3 3"]
    status: str = OK

    @property
    def ok(self) -> bool:
        """Whether the numbers can be used."""
        return self.status == OK

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        return all(bool(np.isfinite(values).all()) for values in (self.energy, self.forces, self.stress))

    def at_pressure(self, volume: float, pressure: float) -> Evaluation:
        """Return the evaluation with the enthalpy E + pV as energy, and the pressure added to the stress.

        Args:
            volume: of the cell, cubic angstrom.
            pressure: eV/angstrom^3.
        """
        if not pressure or not self.ok:
            return self
        return replace(self, energy=self.energy + pressure * volume, stress=self.stress + pressure * np.eye(3))

    @classmethod
    def failed(cls, reason: str, n_atoms: int) -> Evaluation:
        """Return the record of a crystal that the oracle could not handle."""
        return cls(float("nan"), np.full((n_atoms, 3), np.nan), np.full((3, 3), np.nan), reason)


class EnergyOracle(ABC):
    """An energy model of crystals.

    Attributes:
        name: model and settings, such as "chgnet:r2scan". Names of one `oracles.registry.identity_of` with equal
            `provenance` give equal results; references are looked up by it. `oracles.registry.make_oracle(name)` makes
            the same oracle again, which is how other processes get it.
        batch_size: number of crystals best passed to `evaluate` in one call.
        provenance: what the results depend on in addition to the name, such as "chgnet 0.4.2" and a digest of the
            weights; caches do not use results of another provenance.
        quick: whether some hundred independent atoms relax in less time than another process takes to start.
        cutoff: distance in angstrom up to which an atom has neighbours; None if there is no cutoff or it is unknown.
    """

    name: str
    batch_size: int = 1
    provenance: tuple[str, ...] = ()
    quick: bool = False
    cutoff: float | None = None

    @abstractmethod
    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        """Return one record per crystal, in order; a crystal that fails gets a status and never stops the rest."""

    def energies(self, crystals: Sequence[Crystal]) -> list[float]:
        """Return only the energies (eV), in order; NaN for a crystal that fails."""
        return [result.energy if result.ok else float("nan") for result in evaluate_all(self, crystals)]

    @abstractmethod
    def check(self, compositions: Iterable[Composition]) -> None:
        """Check that the oracle can handle these compositions, before any work starts.

        Raises:
            OracleError: names the elements or settings that it cannot handle.
        """


def evaluate_all(
    oracle: EnergyOracle, crystals: Sequence[Crystal], *, on_batch: Callable[[int], None] | None = None
) -> list[Evaluation]:
    """Return records of any number of crystals, in batches of the oracle's preferred size.

    A record with numbers that are not finite gets a status that says so, whatever the oracle gave.

    Args:
        on_batch: called with the number of crystals done.

    Raises:
        OracleError: the oracle gave more or fewer records than crystals.
    """
    results: list[Evaluation] = []
    for start in range(0, len(crystals), oracle.batch_size):
        batch = crystals[start : start + oracle.batch_size]
        found = oracle.evaluate(batch)
        if len(found) != len(batch):
            raise OracleError(f"{oracle.name} gave {len(found)} results for {len(batch)} crystals.")
        results += [_sound(result, crystal) for result, crystal in zip(found, batch, strict=True)]
        if on_batch is not None:
            on_batch(len(results))
    return results


def _sound(result: Evaluation, crystal: Crystal) -> Evaluation:
    if result.ok and not result.finite:
        return Evaluation.failed("the energy, forces or stress are not finite numbers.", crystal.n_atoms)
    return result
