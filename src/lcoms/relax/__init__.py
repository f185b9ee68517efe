"""Relaxation of positions and cells of many crystals with any oracle, on all cores, with a status for each crystal."""

from lcoms.relax.optimizer import Relaxation
from lcoms.relax.result import RelaxConfig, RelaxResult, Status, Trajectory
from lcoms.relax.run import relax_crystals

__all__ = ["RelaxConfig", "RelaxResult", "Relaxation", "Status", "Trajectory", "relax_crystals"]
