"""More templates if rank 1 does not explain a powder pattern: the pattern selects them and determines their cells.

Templates of every size, however improbable, are screened with broad lines, each in the cell of its lattice that puts
lines where the pattern has them; the best are fitted, and relaxed from their fitted cells.
"""

from __future__ import annotations

from collections.abc import Iterator

from lcoms.core.errors import ConfigError
from lcoms.diffraction.fit import PatternFit, PatternFitter
from lcoms.diffraction.posterior import log_likelihood
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.constraints import promising
from lcoms.prediction.decode import drop_duplicates
from lcoms.prediction.known import decoded_template
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Decoded
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import EXACT_SYMPREC
from lcoms.templates.exact import Template
from lcoms.templates.placing import TemplateChoice, choose_templates, substitute

LOOKED_AT = 300  # templates screened
MOST_UNSTABLE = 0.3  # eV/atom above the hull
PER_STRUCTURE = 2  # templates of one structure
FITTED, TAKEN = 24, 8  # templates fitted after the screening, and crystals taken


def pattern_templates(
    composition: Composition, bundle: WeightBundle, spec: PredictionSpec, fitter: PatternFitter
) -> list[Decoded]:
    """Return crystals of the templates that fit a pattern best, in the fitted cells; none without exact templates."""
    found: list[tuple[float, Template, Crystal, float]] = []
    for template, crystal, distance in _crystals(composition, bundle, spec):
        try:
            found.append((fitter.screen(crystal, symprec=EXACT_SYMPREC), template, crystal, distance))
        except ConfigError:  # a cell with too many planes
            continue
    found.sort(key=lambda one: -one[0])
    fits: list[tuple[PatternFit, Template, float]] = [
        (fitter.fit(crystal, symprec=EXACT_SYMPREC), template, distance)
        for _, template, crystal, distance in found[:FITTED]
    ]
    fits.sort(key=lambda one: -log_likelihood(one[0]))
    made = [decoded_template(template, fit.crystal, bundle, 0.0, distance) for fit, template, distance in fits]
    return promising(drop_duplicates(made), spec.constraints, composition, pressure=spec.pressure)[0][:TAKEN]


def _crystals(
    composition: Composition, bundle: WeightBundle, spec: PredictionSpec
) -> Iterator[tuple[Template, Crystal, float]]:
    """Yield templates, their crystals with the elements of the composition, and their chemical distances."""
    search, templates = spec.search, bundle.templates
    if templates is None:
        return
    most = (search.max_atoms or search.direct_atoms) // composition.reduced.n_atoms
    low, high = search.formula_units or (1, most)
    choice = TemplateChoice(
        n=LOOKED_AT,
        units=(low, min(high, most)),
        exclude_same=search.exclude_same,
        max_per_structure=PER_STRUCTURE,
        max_hull=MOST_UNSTABLE,
    )
    for one in choose_templates(composition, templates, bundle.library.similarity, choice):
        yield one.template, substitute(composition, one.template, templates.element_volumes), one.distance
