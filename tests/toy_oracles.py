"""Oracles that fail in known ways, also by name in other processes: `toy_oracles:Raises`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from lcoms.core.errors import OracleError
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.structure.crystal import Composition, Crystal

CURSED = 36  # krypton: the element that makes them fail


class Springs(EnergyOracle):
    """Repulsive atoms in a cell with a preferred volume; starts quickly, because it does not need torch."""

    name = "toy_oracles:Springs"
    batch_size = 4

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [_springs(crystal) for crystal in crystals]

    def check(self, compositions: Iterable[Composition]) -> None:
        pass


def _springs(crystal: Crystal) -> Evaluation:
    """Return 5 exp(-(r / 1.8)^2) per pair plus 0.05 (v - 15)^2 per atom, with the volume per atom v."""
    images = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ crystal.lattice
    vectors = (crystal.cart_coords[None] - crystal.cart_coords[:, None])[:, :, None] + images
    squares = (vectors**2).sum(axis=-1)
    energies = np.where(squares > 0, 5 * np.exp(-squares / 1.8**2), 0)
    slopes = (-2 / 1.8**2 * energies)[..., None] * vectors
    v = crystal.volume / crystal.n_atoms
    stress = 0.5 * np.einsum("ijka,ijkb->ab", vectors, slopes) / crystal.volume + 0.1 * (v - 15) * np.eye(3)
    energy = 0.5 * energies.sum() + 0.05 * (v - 15) ** 2 * crystal.n_atoms
    return Evaluation(float(energy), slopes.sum(axis=(1, 2)), stress)


class Raises(Springs):
    """Raises for any batch that contains krypton."""

    name = "toy_oracles:Raises"

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        for crystal in crystals:
            if CURSED in crystal.atomic_numbers:
                self.curse()
        return super().evaluate(crystals)

    def curse(self) -> None:
        raise RuntimeError("krypton is not liked")

    def check(self, compositions: Iterable[Composition]) -> None:
        if any(103 in composition.atomic_numbers for composition in compositions):
            raise OracleError("no lawrencium here.")


class Deadly(Raises):
    """Is killed by krypton."""

    name = "toy_oracles:Deadly"

    def curse(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class KilledByZinc(Springs):
    """Is killed when checking zinc."""

    name = "toy_oracles:KilledByZinc"

    def check(self, compositions: Iterable[Composition]) -> None:
        if any(30 in composition.atomic_numbers for composition in compositions):
            os.kill(os.getpid(), signal.SIGKILL)


class Leaves(Raises):
    """Ends its process at once."""

    def __init__(self) -> None:
        if sys.argv[0].endswith("child.py"):
            os._exit(7)


class Slow(Raises):
    """Is slow and prints."""

    name = "toy_oracles:Slow"

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        print("a calculator that talks")
        time.sleep(0.02)
        return super().evaluate(crystals)


class GivesNan(Springs):
    """NaN forces for krypton, with the status ok."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        answers = super().evaluate(crystals)
        return [
            replace(answer, forces=np.full_like(answer.forces, np.nan)) if CURSED in crystal.atomic_numbers else answer
            for crystal, answer in zip(crystals, answers, strict=True)
        ]


class Expands(Springs):
    """Energy decreases without bound as the cell grows."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [
            Evaluation(-crystal.volume, np.zeros((crystal.n_atoms, 3)), -np.eye(3)) for crystal in crystals
        ]  # fmt: skip


class Lies(Springs):
    """Forces have the wrong sign."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [replace(answer, forces=-answer.forces, stress=-answer.stress) for answer in map(_springs, crystals)]


class NoZinc(Springs):
    """Does not support zinc."""

    name = "toy_oracles:NoZinc"

    def check(self, compositions: Iterable[Composition]) -> None:
        if any(30 in composition.atomic_numbers for composition in compositions):
            raise OracleError("no zinc here.")


class OffCentre(EnergyOracle):
    """Springs that bind every atom to its site in a perovskite, but repel the small cation from its site."""

    name = "off-centre"

    def __init__(self, pushed: int = 22) -> None:
        self.pushed = pushed

    def check(self, compositions: Iterable[Composition]) -> None:
        """Everything is known."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        found = []
        for crystal in crystals:
            ideal = np.round(crystal.frac_coords * 2) / 2
            moved = (crystal.frac_coords - ideal) @ crystal.lattice
            stiffness = np.where(crystal.atomic_numbers == self.pushed, -1.0, 1.0)
            forces = -stiffness[:, None] * moved
            found.append(Evaluation(0.0, forces - forces.mean(0), np.zeros((3, 3))))
        return found
