"""Where latent descent starts: templates, points between and around them, the prior, random crystals.

    python benchmarks/origins.py STORE -n 100 --out origins.jsonl

Ten latents of each kind are decoded, and the five crystals of lowest score are relaxed. The compositions are ground
states of the validation split; templates of their own composition are excluded. A kind finds the known structure if one
of its relaxed crystals is the known ground state (strict matcher and space group); `first` is the share in which that
is the crystal of lowest energy.

- templates: latents of the nearest templates without descent; descent-10 and descent-50 descend from these;
- tethered-50: the same, with a penalty on the squared distance from the start in normalised latent space;
- noise-10: latents of the templates with normal noise of half a standard deviation;
- mixtures-10: means of the latents of two templates with equal numbers of formula units, in the group of the first;
- prior-50, random-50: samples of the prior and latents of random crystals, decoded without symmetry.

The number is that of the steps of descent. Rows are stored as they are obtained, and a run with the same file is
resumed.
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lcoms.data.store import Store
from lcoms.evaluate.references import Reference, ground_states, sample
from lcoms.evaluate.statistics import Share, mcnemar
from lcoms.models.surrogate import ConservativeSurrogate
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decode import decode
from lcoms.prediction.propose import composition_seed, find_proposals
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec, SearchSpec
from lcoms.prediction.stages import Proposal
from lcoms.relax import RelaxConfig, relax_crystals
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import space_group_number

N_STARTS, N_RELAXED = 10, 5
NOISE = 0.5  # standard deviations of the latents
TETHER = 0.05  # normalised energy per squared distance
Change = Callable[[list[Proposal], ConservativeSurrogate, torch.Generator], list[Proposal]]


class Origin(NamedTuple):
    """A kind of starting point and the number of steps from there."""

    start: Literal["library", "prior", "random"]
    steps: int
    change: Change | None = None
    tether: float = 0.0


def noisy(proposals: list[Proposal], surrogate: ConservativeSurrogate, generator: torch.Generator) -> list[Proposal]:
    """Return proposals with noise on their latents."""
    z = torch.stack([one.latent for one in proposals])
    at = surrogate.normalise(z)
    moved = surrogate.denormalise(at + NOISE * torch.randn(at.shape, generator=generator), z)
    return [replace(one, latent=latent) for one, latent in zip(proposals, moved, strict=True)]


def mixed(proposals: list[Proposal], _: ConservativeSurrogate, generator: torch.Generator) -> list[Proposal]:
    """Return means of pairs of proposals with equal cells, in the group of the first; singles stay as they are."""
    made = []
    for i, one in enumerate(proposals):
        others = [j for j, other in enumerate(proposals) if j != i and other.n_formula_units == one.n_formula_units]
        if not others:
            made.append(one)
            continue
        other = proposals[others[int(torch.randint(len(others), (), generator=generator))]]
        made.append(replace(one, latent=(one.latent + other.latent) / 2, wyckoff_sequence=-1, sites=(), orbits=()))
    return made


ORIGINS: Mapping[str, Origin] = {
    "templates": Origin("library", 0),
    "descent-10": Origin("library", 10),
    "descent-50": Origin("library", 50),
    "tethered-50": Origin("library", 50, tether=TETHER),
    "noise-10": Origin("library", 10, noisy),
    "mixtures-10": Origin("library", 10, mixed),
    "prior-50": Origin("prior", 50),
    "random-50": Origin("random", 50),
}


class Tethered:
    """A surrogate whose steps of descent are also drawn back to where they started."""

    def __init__(self, surrogate: ConservativeSurrogate, strength: float) -> None:
        self.surrogate, self.strength = surrogate, strength
        self.first: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.surrogate, name)

    def __call__(self, z: Tensor, features: Tensor) -> Tensor:
        """Return predicted energies."""
        return self.surrogate(z, features)

    def descent_step(self, at: Tensor, features: Tensor, eta: float) -> tuple[Tensor, Tensor]:
        """Take a step, and the gradient of the penalty with it."""
        self.first = at if self.first is None else self.first
        moved, energy = self.surrogate.descent_step(at, features, eta)
        return moved - eta * 2 * self.strength * (at - self.first), energy


def run_one(name: str, reference: Reference, bundle: WeightBundle, seed: int, oracle: str) -> dict[str, object]:
    """Return whether a kind of start finds the known structure, and the lowest relaxed energy."""
    origin, clock = ORIGINS[name], time.perf_counter()
    search = SearchSpec(start=origin.start, n_starts=N_STARTS, steps=origin.steps, exclude_same=True)
    search = replace(search, random_symmetric=replace(search.random_symmetric, n=0))
    spec = PredictionSpec(search=search, relaxation=None, seed=seed)
    generator = torch.Generator().manual_seed(composition_seed(seed, reference.composition) % 2**63)
    proposals = find_proposals(reference.composition, bundle, spec, generator)
    if origin.change is not None:
        proposals = origin.change(proposals, bundle.surrogate, generator)
    if origin.tether:
        bundle = replace(bundle, surrogate=Tethered(bundle.surrogate, origin.tether))
    crystals = [one.crystal for one in decode(proposals, reference.composition, bundle, spec, generator).crystals]
    config = RelaxConfig(fmax=RelaxationSpec.fmax, max_steps=RelaxationSpec.max_steps)
    results = relax_crystals([reference.crystal, *crystals[:N_RELAXED]], oracle, config, processes=1)
    energies = [np.inf if one.energy is None else one.energy / one.crystal.n_atoms for one in results]
    best = int(np.argmin(energies[1:])) + 1 if len(energies) > 1 else 0
    known = [np.isfinite(e) and is_known(one.crystal, reference) for e, one in zip(energies, results, strict=True)]
    return {
        "case": reference.name,
        "setting": name,
        "seed": seed,
        "n_atoms": reference.crystal.n_atoms,
        "first": bool(best and known[best]),
        "found": any(known[1:]),
        "above known": None if not best or not np.isfinite(energies[best]) else round(energies[best] - energies[0], 5),
        "crystals": len(crystals),
        "seconds": round(time.perf_counter() - clock, 2),
    }


def is_known(crystal: Any, reference: Reference) -> bool:
    """Return whether a relaxed crystal is the known one."""
    same = space_group_number(crystal) == space_group_number(reference.crystal)
    return same and matches(crystal, reference.crystal, STRICT)


def report(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print the share found by each kind, and how it differs from the templates without descent."""
    by_kind: dict[str, dict[tuple[str, int], Mapping[str, Any]]] = {}
    for row in rows:
        by_kind.setdefault(row["setting"], {})[row["case"], row["seed"]] = row
    usual = by_kind.get("templates", {})
    heads = f"{'only it':>8} {'only templates':>15} {'p':>6} {'first':>6} {'median above, eV/atom':>22}"
    print(f"{'start':<12} {'found':<28} {heads}")
    for kind, mine in by_kind.items():
        both = [key for key in mine if key in usual]
        gained = sum(mine[key]["found"] and not usual[key]["found"] for key in both)
        lost = sum(usual[key]["found"] and not mine[key]["found"] for key in both)
        above = [row["above known"] for row in mine.values() if row["above known"] is not None]
        share = Share(sum(row["found"] for row in mine.values()), len(mine))
        p = mcnemar(gained, lost)
        print(
            f"{kind:<12} {share!s:<28} {gained:>8} {lost:>15} {p:>6.3f} {np.median(above) if above else np.nan:>22.4f}"
        )


def main() -> None:
    """Run missing cases and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--sample-seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=list(ORIGINS), choices=list(ORIGINS))
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--oracle", default=RelaxationSpec.oracle)
    parser.add_argument("--out", type=Path, required=True, help="JSON Lines file that keeps the rows")
    args = parser.parse_args()
    bundle = WeightBundle.load(args.weights)
    compounds = sample(ground_states(Store.open(args.store), max_atoms=20), args.n, args.sample_seed)
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(row["case"], row["setting"]) for row in rows}
    for reference in compounds:
        for kind in args.kinds:
            if (reference.name, kind) not in done:
                rows.append(run_one(kind, reference, bundle, 0, args.oracle))
                with args.out.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print(rows[-1], flush=True)
    report(rows)


if __name__ == "__main__":
    main()
