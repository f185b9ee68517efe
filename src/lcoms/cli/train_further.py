"""Further crystals of other stores in `lcoms train cdvae` and `surrogate`, and what is left out of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lcoms.cli.train_library import open_training

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lcoms.data.store import CrystalArrays, Store


def further_rows(
    data: Store, max_atoms: int, larger: int | None, further: list[Path]
) -> Iterator[tuple[str, Store, NDArray[np.int64]]]:
    """Yield names, stores and rows of further crystals that teach the surrogate."""
    from lcoms.train.latents import select_rows

    wide = select_rows(data, max_atoms=larger or max_atoms, min_atoms=max_atoms + 1)
    if len(wide):
        yield f"larger crystals of up to {larger} atoms", data, wide
    for path in further:
        extra = open_training(path)
        rows = extra.select(max_atoms=max_atoms)
        _tell_left_out(extra, {f"over {max_atoms} atoms": len(extra.select()) - len(rows)})
        yield f"crystals of {path}", extra, rows


def only_trained(data: Store, further: Store, max_atoms: int) -> CrystalArrays:
    """Return the training crystals of a further store, except compositions that `data` holds back for validation."""
    import numpy as np

    rows = further.select(split="train", max_atoms=max_atoms)
    own = data.columns("formula", "split")
    held_back = np.isin(further.columns("formula")["formula"][rows], own["formula"][own["split"] != "train"])
    n_train = len(further.select(split="train"))
    reasons = {
        "not in its training split": len(further.select()) - n_train,
        f"over {max_atoms} atoms": n_train - len(rows),
        f"held back for validation by {data.path}": int(held_back.sum()),
    }
    _tell_left_out(further, reasons)
    return further.arrays(rows[~held_back])


def tell_without_energies(crystals: Sequence[CrystalArrays]) -> None:
    """Print how many crystals have no formation energy, which the batches of energies leave out."""
    import numpy as np

    n = sum(int(np.isnan(some.formation_energy).sum()) for some in crystals)
    if n:
        typer.echo(f"{n} crystal{'s'[: n > 1]} without a formation energy left out of the energy batches.")


def _tell_left_out(store: Store, reasons: Mapping[str, int]) -> None:
    """Print how many crystals of a store are left out for each reason."""
    for reason, n in reasons.items():
        if n:
            typer.echo(f"{store.path}: {n} crystal{'s'[: n > 1]} left out ({reason}).")
