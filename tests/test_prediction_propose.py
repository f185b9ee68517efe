"""Starting points of descents: templates, the prior, random crystals or a given structure; unsupported input."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_templates_exact import known
from tiny import rock_salt, wurtzite

from lcoms.core.errors import FormulaError
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.propose import check_composition, composition_seed, find_proposals, given_proposal
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Proposal
from lcoms.structure.crystal import Composition
from lcoms.templates.exact_build import build_templates

SALT = Composition.from_formula("NaCl")


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


def proposals(bundle: WeightBundle, *, seed: int = 0, **options: object) -> list[Proposal]:
    spec = PredictionSpec().with_options({"search": {"n_starts": 6} | options})
    return find_proposals(SALT, bundle, spec, torch.Generator().manual_seed(seed))


def test_proposals_come_from_the_library_first_and_then_from_the_prior(bundle: WeightBundle) -> None:
    found = proposals(bundle, n_starts=7)
    assert {one.source for one in found[:4]} == {"rock salt", "caesium chloride", "zinc blende", "wurtzite"}
    assert found[0].source == "rock salt"
    assert found[0].distance == 0
    assert (found[0].formula, found[0].n_formula_units) == ("NaCl", 1)
    torch.testing.assert_close(found[0].latent, bundle.library.latents()[0])
    assert [one.source for one in found[4:]] == ["prior"] * 3
    assert all(math.isnan(one.distance) for one in found[4:])
    assert [one.n_formula_units for one in found[4:]] == [1, 2, 3]
    assert "rock salt" not in {one.source for one in proposals(bundle, exclude_same=True)}
    assert {one.source for one in proposals(bundle, start="prior")} == {"prior"}
    assert len(proposals(bundle, n_starts=2)) == 2


def test_formula_units_are_kept_to(bundle: WeightBundle) -> None:
    for low, high in ((2, 2), (1, 3), (5, 9)):
        found = proposals(bundle, n_starts=12, formula_units=(low, high))
        assert len(found) == 12
        assert all(low <= one.n_formula_units <= min(high, 6) for one in found)  # 12 atoms at most
    doubled = proposals(bundle, formula_units=(2, 2))
    assert [one.source for one in doubled if one.source != "prior"] == ["wurtzite"]
    with pytest.raises(FormulaError, match="NaCl: 7 formula units make 14 atoms; cells of up to 12"):
        proposals(bundle, formula_units=(7, 8))


def test_random_starts_are_encoded_random_crystals(bundle: WeightBundle) -> None:
    found = proposals(bundle, start="random")
    assert {one.source for one in found} == {"random"}
    assert [one.n_formula_units for one in found] == [1, 2, 3, 4, 1, 2]
    latents = torch.stack([one.latent for one in found])
    assert torch.pdist(latents).min() > 1e-3
    again = torch.stack([one.latent for one in proposals(bundle, start="random", seed=5)])
    torch.testing.assert_close(again, latents)


def test_a_given_structure_is_encoded_with_its_formula_units(bundle: WeightBundle) -> None:
    found = given_proposal(wurtzite(), SALT, bundle)
    assert (found.source, found.n_formula_units, found.space_group) == ("given", 2, 0)
    torch.testing.assert_close(found.latent, bundle.encode([wurtzite()])[0])
    big = Composition.from_formula("SrTi2Zn2O3")
    with pytest.raises(FormulaError, match="2 formula units, which make 16 atoms; cells of up to 12"):
        given_proposal(wurtzite(), big, bundle)


def test_formulas_that_cannot_be_handled(bundle: WeightBundle) -> None:
    check_composition(SALT, bundle)
    with pytest.raises(FormulaError, match="no crystal with Fe or Au"):
        check_composition(Composition.from_formula("FeAu2"), bundle)
    with pytest.raises(FormulaError, match=r"13 atoms in its formula unit; cells of up to 12 are tried"):
        check_composition(Composition.from_formula("Na12Cl"), bundle)
    exact = replace(bundle, templates=build_templates([known("NaCl", rock_salt())], np.ones(104)))
    with pytest.raises(FormulaError, match=r"cells of up to 80 are tried; --max-atoms 100 tries larger ones\.$"):
        check_composition(Composition.from_formula("Na99Cl"), exact)


def test_compositions_have_seeds_of_their_own() -> None:
    names = ("NaCl", "Na2Cl2", "CsCl")
    salt, doubled, caesium = (composition_seed(0, Composition.from_formula(name)) for name in names)
    assert salt == doubled != caesium
    assert composition_seed(1, SALT) != salt
