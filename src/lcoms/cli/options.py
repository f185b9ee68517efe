"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_EFFORT = "normal"

EffortOption = Annotated[
    str, typer.Option(help="fast, normal or thorough: how many starts, tries and relaxations there are.")
]
StartsOption = Annotated[int | None, typer.Option(help="Latents to descend from.", show_default="as the effort says")]
NRelaxOption = Annotated[int | None, typer.Option(help="Candidates to relax.", show_default="as the effort says")]
