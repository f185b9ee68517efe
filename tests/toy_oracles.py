"""Oracles that fail in known ways, also by name in other processes: `toy_oracles:Raises`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from lcoms.crystal import Composition, Crystal
from lcoms.errors import OracleError
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import EnergyOracle, Evaluation

CURSED = 36  # krypton: the element that makes them fail


class Raises(EnergyOracle):
    """Raises for a whole batch with krypton in it."""

    name = "toy_oracles:Raises"
    batch_size = 4

    def __init__(self) -> None:
        self.analytic = AnalyticOracle()

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        for crystal in crystals:
            if CURSED in crystal.atomic_numbers:
                self.curse()
        return self.analytic.evaluate(crystals)

    def curse(self) -> None:
        raise RuntimeError("krypton is not liked")

    def check(self, compositions: Iterable[Composition]) -> None:
        if any(118 in composition.atomic_numbers for composition in compositions):
            raise OracleError("no oganesson here.")


class Deadly(Raises):
    """Is killed by krypton."""

    name = "toy_oracles:Deadly"

    def curse(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Leaves(Raises):
    """Ends its process at once."""

    def __init__(self) -> None:
        if "lcoms.relax.worker" in sys.argv[0] or sys.argv[0].endswith("worker.py"):
            sys.exit(7)
        super().__init__()


class Slow(Raises):
    """Takes its time and prints what it likes."""

    name = "toy_oracles:Slow"

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        print("a calculator that talks")
        time.sleep(0.02)
        return super().evaluate(crystals)


class GivesNan(Raises):
    """NaN forces for krypton, with the status ok."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        answers = self.analytic.evaluate(crystals)
        return [
            replace(answer, forces=np.full_like(answer.forces, np.nan)) if CURSED in crystal.atomic_numbers else answer
            for crystal, answer in zip(crystals, answers, strict=True)
        ]


class Expands(Raises):
    """Energy falls without end as the cell grows."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [
            Evaluation(-crystal.volume, np.zeros((crystal.n_atoms, 3)), -np.eye(3)) for crystal in crystals
        ]  # fmt: skip


class Lies(Raises):
    """Forces with the wrong sign."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [
            replace(answer, forces=-answer.forces, stress=-answer.stress)
            for answer in self.analytic.evaluate(crystals)
        ]
