"""Child process of a relaxation: it makes the oracle and keeps its batch full of crystals."""

from __future__ import annotations

from collections.abc import Sequence

from lcoms.core.errors import LcomsError
from lcoms.core.messages import Tasks
from lcoms.oracles.registry import make_oracle
from lcoms.relax.engine import relax_stream
from lcoms.relax.result import RelaxConfig
from lcoms.structure.crystal import Crystal


def serve(setup: tuple[str, RelaxConfig], tasks: Tasks) -> None:
    """Relax crystals as they arrive.

    Args:
        setup: name of the oracle and options.
    """
    name, config = setup
    try:
        oracle = make_oracle(name)
    except LcomsError as error:
        tasks.failed(error)
        return
    tasks.ready(oracle.batch_size)

    def take(room: int, idle: bool) -> Sequence[tuple[int, Crystal]]:
        return tasks.take(room, wait=idle)

    relax_stream(oracle, config, take, tasks.answer)
