"""The 26 compounds along 50 descent steps: energies from conservative and plain surrogates, and decoded crystals.

For each surrogate and each step shown: the mean energy it predicts for the latents, the mean energy it predicts for the
crystals decoded from them and encoded again, and the fraction of decodes that are valid. Energies are in eV/atom.
Starts come from the library, without entries of the compound itself.

    python benchmarks/descent.py PLAIN_SURROGATE [--weights FOLDER] [--starts 8]
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
from pathlib import Path

import torch

from lcoms.evaluate.references import paper_compounds
from lcoms.models.composition import element_fractions
from lcoms.models.surrogate_file import load_surrogate
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decode import MIN_DISTANCE
from lcoms.prediction.descend import descend
from lcoms.prediction.propose import find_proposals
from lcoms.prediction.spec import PredictionSpec, SearchSpec
from lcoms.structure.lattice import shortest_distance

SHOWN = (0, 10, 20, 30, 40, 50)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain", type=Path, help="surrogate trained with --conservatism off")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--starts", type=int, default=8)
    options = parser.parse_args()
    weights = WeightBundle.load(options.weights)
    spec = PredictionSpec(search=SearchSpec(n_starts=options.starts, exclude_same=True))
    generator = torch.Generator().manual_seed(0)
    latents, features, cells = [], [], []
    for reference in paper_compounds():
        proposals = find_proposals(reference.composition, weights, spec, generator)
        latents += [proposal.latent for proposal in proposals]
        cells += [reference.composition.scaled(proposal.n_formula_units) for proposal in proposals]
    z0, features = torch.stack(latents), element_fractions(cells)
    surrogates = {"conservative": weights.surrogate, "plain": load_surrogate(options.plain)[0]}
    print(f"{'surrogate':<13} {'step':>4} {'predicted':>9} {'decoded':>9} {'by the other':>13} {'valid':>6}")
    for name, surrogate in surrogates.items():
        other = surrogates["plain" if name == "conservative" else "conservative"]
        path = descend(surrogate, z0, features, steps=SHOWN[-1], keep_path=True)
        assert path.path is not None
        for step in SHOWN:
            crystals = weights.cdvae.decode(path.path[step], cells, torch.Generator().manual_seed(step))
            kept = [
                (row, c)
                for row, c in enumerate(crystals)
                if c is not None and shortest_distance(c.lattice, c.frac_coords) >= MIN_DISTANCE
            ]
            rows = [row for row, _ in kept]
            mu = weights.encode([c for _, c in kept])
            own, theirs = surrogate(mu, features[rows]).mean(), other(mu, features[rows]).mean()
            print(
                f"{name:<13} {step:>4} {path.energy_path[step].mean():>9.3f} {own:>9.3f} {theirs:>13.3f} "
                f"{len(kept) / len(crystals):>6.2f}"
            )


if __name__ == "__main__":
    main()
