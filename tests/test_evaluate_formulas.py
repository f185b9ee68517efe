"""Ranks of known structures among the candidates, and the fractions found within the first few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import (
    caesium_chloride,
    candidate_of,
    decoded_of,
    decoded_set,
    perovskite,
    rock_salt,
    shaken,
    tiny_cdvae,
    zinc_blende,
)

from lcoms.core.errors import FormulaError
from lcoms.evaluate import formulas, reconstruction
from lcoms.evaluate.energy_criterion import share_within_energy
from lcoms.evaluate.formulas import (
    NOT_FOUND,
    Outcome,
    Ranks,
    by_majority,
    evaluate_formulas,
    ranks_of,
)
from lcoms.evaluate.reconstruction import Reconstruction, library_decode, reconstruct
from lcoms.evaluate.references import Reference
from lcoms.evaluate.rows import rows_of
from lcoms.evaluate.statistics import Share, share_within
from lcoms.models.base import CDVAE
from lcoms.models.fast import FastCDVAE
from lcoms.oracles.references import References
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decoder import Constraint, Decode
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.rank import rank_decoded
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec, SearchSpec
from lcoms.prediction.stages import Candidate
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal

SALT = Reference("salt", Composition.from_formula("NaCl"), rock_salt())
HIGH = Reference("high-pressure salt", Composition.from_formula("NaCl"), caesium_chloride(3.4, (11, 17)))
OTHER = Reference("other", Composition.from_formula("SrTiO3"), perovskite())
UNRELAXED = PredictionSpec(relaxation=None)


def candidates(*crystals: Crystal) -> tuple[Candidate, ...]:
    return tuple(candidate_of(crystal) for crystal in crystals)


@pytest.fixture
def predictor(tiny_weights: Path) -> Predictor:
    return Predictor.load(tiny_weights, spec=UNRELAXED)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Replace predictions by known ones: zinc blende, a distorted rock salt, rock salt and caesium chloride."""
    made: list[tuple[str, int]] = []

    def predict(self: Predictor, composition: Composition) -> Prediction:
        seed = self.spec.seed
        made.append((composition.reduced_formula, seed))
        if composition == OTHER.composition:
            raise FormulaError("no luck with SrTiO3.")
        crystals = [zinc_blende(5.6, (11, 17)), shaken(rock_salt(), 0.02), rock_salt(), HIGH.crystal]
        decoded = decoded_set(*map(decoded_of, crystals[seed:]))
        return Prediction(composition, tuple(rank_decoded(decoded.crystals)), decoded, self.spec, "")

    monkeypatch.setattr(Predictor, "predict", predict)
    return made


def test_ranks_of_the_first_match(calls: list[tuple[str, int]], predictor: Predictor) -> None:
    seen: list[Outcome] = []
    outcomes = evaluate_formulas([SALT, OTHER, HIGH], predictor, n_seeds=2, on_outcome=seen.append)
    assert calls == [("NaCl", 0), ("SrTiO3", 0), ("NaCl", 1), ("SrTiO3", 1)]  # once a composition and seed
    assert seen == outcomes
    by = {(outcome.name, outcome.seed): outcome for outcome in outcomes}
    assert len(by) == 6
    salt = by["salt", 0]
    assert (salt.ranks.strict, salt.ranks.loose) == (2, 1)  # loosely, zinc blende passes for rock salt
    assert (salt.space_group, salt.first_space_group, salt.n_candidates) == (225, 216, 4)
    assert salt.ranks == salt.decoded
    assert [row.strict for row in salt.rows] == [False, True, True, False]
    assert by["salt", 1].ranks.strict == 1
    assert (by["high-pressure salt", 0].ranks.strict, by["high-pressure salt", 1].ranks.strict) == (4, 3)
    lost = by["other", 0]
    assert (lost.ranks, lost.n_candidates, lost.first_space_group) == (NOT_FOUND, 0, None)
    assert lost.note == "no luck with SrTiO3."


def test_what_fails_the_filter_matches_nothing() -> None:
    salt, gases = rock_salt(), rock_salt(5.6, (10, 18))
    assert formulas._ranks(SALT, candidates(HIGH.crystal, salt), 225) == Ranks(2, 2, 2, 2)
    reference = Reference("no ions", gases.composition, gases)
    assert formulas._ranks(reference, candidates(gases), 225) == Ranks(1, 1, 1, None)
    assert formulas._ranks(reference, candidates(gases), 216) == Ranks(1, 1, None, None)


def test_the_orbits_of_a_candidate_found_at_a_large_tolerance_are_those_of_its_exact_crystal() -> None:
    # At 0.5 angstrom, moyopy never ends for this cell.
    lattice = np.array([[4.731, -1.398, 0.0], [4.731, 1.398, 0.0], [-0.313, 0.0, 4.204]])
    first, second = [0.8647, 0.8647, 0.7033], [0.5997, 0.5997, 0.7518]
    coords = np.array([first, second])
    monoclinic = Crystal(lattice, np.concatenate([coords, 1 - coords]), np.full(4, 29))
    loose = replace(candidate_of(monoclinic), symprec=0.5)
    (row,) = rows_of(Reference("Cu", Composition.from_formula("Cu"), monoclinic), [loose], [loose], 12)
    assert (row.orbits_space_group, row.orbits) == (12, "i:Cu i:Cu")


def test_shares_within_the_first_few(calls: list[tuple[str, int]], predictor: Predictor) -> None:
    outcomes = evaluate_formulas([SALT, OTHER, HIGH], predictor)
    assert len(calls) == 2
    found = {k: share_within(ranks_of(outcomes, "strict"), k) for k in (1, 2, 3, 4, 20)}
    assert {k: (share.successes, share.trials) for k, share in found.items()} == {
        1: (0, 3), 2: (1, 3), 3: (1, 3), 4: (2, 3), 20: (2, 3)
    }  # fmt: skip
    assert share_within(ranks_of(outcomes, "loose"), 1).successes >= 1
    assert share_within(ranks_of([], "strict"), 1).trials == 0
    worse = [replace(outcome, ranks=NOT_FOUND) for outcome in outcomes]
    assert share_within(ranks_of(worse, "strict"), 20).successes == 0


def test_majority_of_the_seeds() -> None:
    def outcome(name: str, seed: int, rank: int | None) -> Outcome:
        return Outcome(name, name, seed, Ranks(rank, rank, None), NOT_FOUND, 1, 1, 5, None, 0.1)

    rows = [outcome("a", 0, 1), outcome("a", 1, 3), outcome("a", 2, 1), outcome("b", 0, 1), outcome("b", 1, None)]
    assert by_majority(rows, 1, "strict").successes == 1  # two of three; one of two is no majority
    assert by_majority(rows, 3, "strict") == by_majority(rows, 1, "loose")
    assert by_majority(rows, 3, "both").successes == by_majority(rows, 3, "strict", decoded=True).successes == 0
    assert by_majority(rows, 1, "strict").trials == 2


def test_energies_within_a_share_of_the_known_one_or_within_electronvolts() -> None:
    def outcome(energy: float | None, known: float | None, formula: str = "NaCl") -> Outcome:
        return Outcome("a", formula, 0, NOT_FOUND, NOT_FOUND, 1, 1, 5, None, 0.1, energy=energy, known_energy=known)

    rows = [outcome(-1.9, -2.0), outcome(-2.5, -2.0), outcome(-1.5, -2.0), outcome(None, -2.0)]
    rows += [outcome(0.06, 0.02, "Sn"), outcome(-3.0, None, "YbI2")]  # an element, and one without a known energy
    assert share_within_energy(rows, 0.05, relative=True) == Share(2, 4)  # lower is never too high; no element counts
    assert share_within_energy(rows, 0.3, relative=True) == Share(3, 4)
    assert share_within_energy(rows, 0.04, relative=True) == Share(1, 4)
    assert share_within_energy(rows, 0.05, relative=False) == Share(2, 5)
    assert share_within_energy(rows, 0.1, relative=False) == Share(3, 5)


def test_relaxed_outcomes_and_processes(tiny_weights: Path) -> None:
    relaxation = RelaxationSpec("analytic", n_relax=2, max_steps=5)
    predictor = Predictor.load(tiny_weights, spec=PredictionSpec(4, SearchSpec(n_starts=4, steps=1), relaxation))
    known = [SALT, Reference("caesium", Composition.from_formula("CsCl"), caesium_chloride())]
    alone = evaluate_formulas(known, predictor, n_seeds=2)
    together = evaluate_formulas(known, predictor, n_seeds=2, processes=2)
    assert [replace(o, seconds=0.0) for o in alone] == [replace(o, seconds=0.0) for o in together]
    assert [(o.name, o.seed) for o in alone] == [("salt", 0), ("caesium", 0), ("salt", 1), ("caesium", 1)]
    energies = [row.energy for row in alone[0].rows if row.energy is not None]
    assert energies
    assert min(energies) == 0
    relaxed = [row for row in alone[0].rows if row.energy is not None]
    assert [len(row.energies) for row in alone[0].rows] == [int(row in relaxed) for row in alone[0].rows]
    assert all(
        row.energies[0] - relaxed[0].energies[0] == pytest.approx(row.energy - relaxed[0].energy) for row in relaxed
    )
    assert {row.orbits for row in relaxed if row.space_group == 225} <= {"a:Na b:Cl", "a:Cl b:Na"}
    assert {row.known_height for row in alone[0].rows} == {None}
    assert sorted(row.decoded_rank for row in alone[0].rows) == sorted({row.decoded_rank for row in alone[0].rows})


def test_known_structures_are_relaxed_as_far_as_the_first_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "load_references", lambda _: References("made", {11: 0.0, 17: 0.0}))
    reference = Reference("salt", SALT.composition, shaken(rock_salt(5.2), 0.2))
    first = RelaxationSpec("analytic", fmax=0.5, final_fmax=0.5)
    (loosely,) = formulas._known_energies([reference], first)
    (closely,) = formulas._known_energies([reference], replace(first, final_fmax=1e-3))
    (unchanged,) = formulas._known_energies([reference], replace(first, final_fmax=1e-3, n_final=0))
    (lowest,) = formulas._known_energies([reference], replace(first, fmax=1e-3))
    assert loosely == unchanged
    assert loosely > closely + 1e-4
    assert closely == pytest.approx(lowest, abs=1e-5)


class Remembering(CDVAE):
    """Model that decodes to the crystals it has encoded, several of them damaged."""

    latent_dim = 1
    within_groups = None

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Crystal] = []
        self.turn = 0

    def losses(self, batch, generator):
        raise NotImplementedError

    def fit_statistics(self, batch):
        raise NotImplementedError

    def encode(self, batch):
        self.seen = batch.to_crystals()
        return torch.arange(batch.n_crystals).float()[:, None], torch.zeros(batch.n_crystals, 1)

    def decode(self, z, compositions, generator):
        assert [c.composition for c in self.seen] == list(compositions)
        assert isinstance(generator, torch.Generator)
        self.turn += 1
        decoded = [self.seen[int(i)] for i in z[:, 0]]
        # First decodes: the largest crystal is lost and the rest shaken; later ones are right.
        return [None if c.n_atoms == 5 else shaken(c, 0.05) for c in decoded] if self.turn == 1 else decoded


def test_reconstruction_counts_by_attempt_and_size() -> None:
    crystals = [perovskite(), rock_salt(), zinc_blende(), caesium_chloride()]
    result = reconstruct(Remembering(), crystals, torch.Generator(), k=2)
    assert result.n_atoms.tolist() == [5, 2, 2, 2]
    assert result.rmsds.shape == (4, 2)
    bands = {name: (first, any_of_k, rmse) for name, first, any_of_k, rmse in result.bands()}
    assert set(bands) == {"1-20", "1-12", "1-2", "5-8"}
    first, both, rmse = bands["1-20"]
    assert ((first.successes, first.trials), (both.successes, both.trials)) == ((3, 4), (4, 4))
    assert 0 < rmse < 0.1
    lost = bands["5-8"]
    assert (lost[0].successes, lost[1].successes) == (0, 1)
    assert lost[2] != lost[2]  # no match, no RMSE
    assert result.rmsds[1, 1] == pytest.approx(0, abs=1e-6)


def test_no_size_is_left_out_of_the_reconstruction() -> None:
    found = Reconstruction(np.array([2, 20, 21, 40]), np.array([[0.1], [0.1], [0.1], [np.nan]]))
    bands = {name: (first.successes, first.trials) for name, first, *_ in found.bands()}
    assert bands == {"1-20": (2, 2), "1-12": (1, 1), "1-2": (1, 1), "13-20": (1, 1), "21-40": (1, 2), "1-40": (3, 4)}


def test_reconstruction_does_not_depend_on_the_size_of_batches() -> None:
    model = tiny_cdvae()
    crystals = [perovskite(), rock_salt(), zinc_blende(), perovskite(4.0), caesium_chloride()]
    result = reconstruct(model, crystals, torch.Generator().manual_seed(0), k=1, batch_size=2)
    again = reconstruct(model, crystals, torch.Generator().manual_seed(0), k=1, batch_size=2)
    assert isinstance(result, Reconstruction)
    torch.testing.assert_close(torch.tensor(result.rmsds), torch.tensor(again.rmsds), equal_nan=True)
    assert result.n_atoms.tolist() == [5, 2, 2, 5, 2]


def test_reconstruction_starts_from_the_sites_of_the_nearest_entries(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = WeightBundle.load(tiny_weights)
    n, library = len(bundle.library), bundle.library
    with_sites = replace(
        library,
        wyckoff_sequences=np.zeros(n, dtype=np.int16),
        site_codes=np.arange(n, dtype=np.uint8),
        site_offsets=np.arange(n + 1, dtype=np.int32),
        cell_codes=np.arange(10, 10 + n, dtype=np.int16),
    )
    bundle = replace(bundle, library=with_sites)
    crystals = [rock_salt(), perovskite()]
    with torch.no_grad():
        z, _ = bundle.cdvae.encode(CrystalBatch.from_crystals(crystals))
    asked: list[tuple[int, list[list[Constraint]], bool]] = []
    answers = [
        [
            [Decode(rock_salt(), 1.3, 225)],
            [Decode(shaken(perovskite(), 0.3), 1.1, 221), Decode(perovskite(5), 1.8, 221)],
        ],
        [[Decode(shaken(perovskite(), 0.4), 1.2, 1), Decode(perovskite(4.1), 2.0, 221)]],
    ]
    nearer = {1.3: 0.9, 1.1: 1.05, 1.8: 1.02, 1.2: 1.2, 2.0: 0.2}  # distances before and after refinement
    ends = {distance: perovskite(3 + distance) for distance in nearer.values()}

    def refine(_, z: torch.Tensor, crystals: list[Crystal]) -> tuple[list[Crystal], torch.Tensor]:
        decodes = {id(one.crystal): one.distance for some in answers for decodes in some for one in decodes}
        distances = [nearer[decodes[id(crystal)]] for crystal in crystals]
        assert len(z) == len(crystals)
        return [ends[distance] for distance in distances], torch.tensor(distances)

    def decode(*arguments, also_freely=False, **_):
        asked.append((len(arguments[1]), arguments[3], also_freely))
        return answers[len(asked) - 1]

    monkeypatch.setattr(reconstruction, "decode_latents", decode)
    monkeypatch.setattr(FastCDVAE, "refine", refine)
    found = library_decode(bundle)(z, [crystal.composition for crystal in crystals], torch.Generator())
    (n_all, placed, _), (n_far, searched, also_freely) = asked
    assert (n_all, n_far, also_freely) == (2, 1, True)  # only the decodes of the second are not near enough
    for latent, crystal, some in zip(z, crystals, placed, strict=True):
        alike = sorted(crystal.composition.counts)
        same = [row for row in range(n) if sorted(library.composition(row).counts) == alike]
        same.sort(key=lambda row: float(torch.linalg.norm(library.latents(np.array([row]))[0] - latent)))
        assert [(one.sites, one.cell_code) for one in some] == [((row,), row + 10) for row in same]
        assert [one.space_group for one in some] == [int(library.space_groups[row]) for row in same]
    groups = library.space_groups_near(z[1], crystals[1].composition)
    assert [(one.space_group, one.sites) for one in searched[0]] == [(group, ()) for group, _ in groups]
    assert found[0] is ends[0.9]
    assert found[1] is ends[0.2]  # the one that is nearest after refinement, not before
