"""What the page shows of a fit to a measured powder pattern: numbers, and a figure as an image in the page."""

from __future__ import annotations

from base64 import b64encode
from typing import NamedTuple

from lcoms.diffraction.figure import figure_svg, fit_figure
from lcoms.page.facts import Fact, number
from lcoms.prediction.stages import PatternMatch
from lcoms.structure.lattice import parameters_from_lattice
from lcoms.structure.symmetry import conventional

DRAWN = 3  # candidates whose fits are drawn, the first ones


class FittedView(NamedTuple):
    """A fit; `image` is the address of its figure, empty where it is not drawn."""

    facts: tuple[Fact, ...]
    image: str


def fitted_view(match: PatternMatch, rank: int) -> FittedView:
    """That of a candidate."""
    fit = match.fit
    lengths, angles = parameters_from_lattice(conventional(fit.crystal).lattice)
    lines = ", ".join(f"{peak.two_theta:.2f}" for peak in fit.unexplained)
    facts = (
        Fact("Rwp", number(fit.rwp, 3)),
        Fact("Cosine", number(fit.cosine, 3)),
        Fact("Probability, if one of the candidates gave the pattern", f"{match.probability:.0%}"),
        Fact("Fitted a, b, c", ", ".join(f"{length:.4f}" for length in lengths) + " Å"),
        Fact("Fitted α, β, γ", ", ".join(f"{angle:.3f}" for angle in angles) + "°"),
        Fact("Change of the volume", f"{fit.scale_change:+.1%}"),
        Fact("Zero shift", number(fit.zero_shift, 3, "°")),
        Fact("Strong lines unexplained", f"{len(fit.unexplained)}" + (f" (at {lines}°)" if lines else "")),
    )
    if rank > DRAWN:
        return FittedView(facts, "")
    svg = figure_svg(fit_figure(fit, f"rank {rank}"))
    return FittedView(facts, "data:image/svg+xml;base64," + b64encode(svg.encode()).decode())
