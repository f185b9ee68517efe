"""Vectors of the elements, learned from crystals of one stoichiometry that share a structure.

The structure of each training crystal is predicted from crystals of the same stoichiometry but other compositions; the
loss is the negative logarithm of the probability of the correct structure (neighbourhood components analysis).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lcoms.structure.elements import N_ELEMENTS
from lcoms.templates.similarity import MOST_ELEMENTS, ElementSimilarity

TRAINING_SHARPNESS = 3.0
SHARPNESS_IN_USE = 5.0  # maximises the probability of correct structures on validation compositions
MIN_CLASS = 20  # entries of a stoichiometry that is used in the training
REACH_IN_USE = 0.8  # maximises the same probability
SMALLEST = 1e-4  # added to squared lengths, so that gradients exist


@dataclass(frozen=True, eq=False)
class ClassStructures:
    """Crystals of one stoichiometry.

    Attributes:
        elements: (n, k) atomic numbers, paired by their columns.
        structures: (n,) labels, equal for crystals of one structure.
        instability: (n,) eV/atom above the hull.
    """

    elements: Int[NDArray[np.int64], "n k"]
    structures: Int[NDArray[np.int64], " n"]
    instability: Float[NDArray[np.float64], " n"]


@dataclass(frozen=True)
class SimilarityConfig:
    """How the vectors are learned.

    Attributes:
        dim: length of a vector.
        steps: steps of Adam, each with one stoichiometry.
        queries, candidates: crystals of the stoichiometry whose structures are predicted, and from which.
        decay: weight of the vectors' mean square in the loss.
    """

    dim: int = 8
    steps: int = 3000
    learning_rate: float = 0.02
    queries: int = 64
    candidates: int = 1500
    decay: float = 1e-3


def learn_similarity(
    classes: Sequence[ClassStructures],
    *,
    config: SimilarityConfig | None = None,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> ElementSimilarity:
    """Learn vectors, scales and the weight of instability; use Mendeleev numbers where all classes are too small."""
    config = config or SimilarityConfig()
    large = [_tensors(members) for members in classes if len(members.structures) >= MIN_CLASS]
    if not large:
        return ElementSimilarity.mendeleev()
    random = np.random.default_rng(seed)
    model = _Similarity(config.dim, torch.Generator().manual_seed(seed))
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    shares = np.array([len(structures) for _, structures, _ in large], dtype=np.float64)
    for step in range(config.steps):
        elements, structures, instability = large[random.choice(len(large), p=shares / shares.sum())]
        asks, asked = (
            torch.from_numpy(random.permutation(len(structures))[:n]) for n in (config.queries, config.candidates)
        )
        distance = model(elements[asks], elements[asked], instability[asked])
        own = (elements[asks][:, None] == elements[asked][None]).all(-1)
        loss = _loss(distance, structures[asks][:, None] == structures[asked][None], own)
        if loss is None:
            continue
        loss = loss + config.decay * model.vectors.square().sum() / len(model.vectors)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * (1 - step / config.steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if on_step is not None:
            on_step(step, loss.item())
    return model.learned()


class _Similarity(torch.nn.Module):
    def __init__(self, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        vectors = 0.05 * torch.randn(N_ELEMENTS + 1, dim, generator=generator)
        vectors[:, 0] = torch.from_numpy(ElementSimilarity.mendeleev().vectors[:, 0]) / 25
        self.vectors = torch.nn.Parameter(vectors)
        self.log_scales = torch.nn.Parameter(torch.zeros(MOST_ELEMENTS + 1))
        self.hull = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, asks: Tensor, asked: Tensor, instability: Tensor) -> Float[Tensor, "q c"]:
        apart = self.vectors[asks][:, None] - self.vectors[asked][None]
        k = asks.shape[1]
        mean = (apart.square().sum(-1) + SMALLEST).sqrt().mean(-1)
        return mean * k * self.log_scales[min(k, MOST_ELEMENTS)].exp() + self.hull.abs() * instability

    def learned(self) -> ElementSimilarity:
        with torch.no_grad():
            vectors, scales = self.vectors.numpy().copy(), self.log_scales.exp().numpy().copy()
        return ElementSimilarity(vectors, scales, abs(self.hull.item()), SHARPNESS_IN_USE, REACH_IN_USE)


def _loss(distance: Float[Tensor, "q c"], alike: Tensor, own: Tensor) -> Float[Tensor, ""] | None:
    """Return the mean loss of queries for which a candidate has the same structure; None without any."""
    weights = torch.log_softmax((-TRAINING_SHARPNESS * distance).masked_fill(own, -torch.inf), dim=1)
    right = alike & ~own
    answered = right.any(1)
    if not answered.any():
        return None
    return -torch.logsumexp(weights.masked_fill(~right, -torch.inf)[answered], dim=1).mean()


def _tensors(members: ClassStructures) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.from_numpy(members.elements),
        torch.from_numpy(members.structures),
        torch.from_numpy(members.instability).float(),
    )
