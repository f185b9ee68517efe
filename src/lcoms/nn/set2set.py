"""Set2Set: a sum over a set with learned attention, in several passes (Vinyals et al. 2016), as used by MEGNet."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lcoms.nn.layers import segment_sum


def segment_softmax(
    scores: Float[Tensor, " n"], weights: Float[Tensor, " n"], index: Int[Tensor, " n"], n_segments: int
) -> Float[Tensor, " n"]:
    """Return w_i exp(s_i) / sum_j w_j exp(s_j) within each segment: a row of weight two equals two identical rows."""
    highest = scores.new_zeros(n_segments).scatter_reduce(0, index, scores.detach(), "amax", include_self=False)
    values = weights * torch.exp(scores - highest[index])
    return values / segment_sum(values, index, n_segments).clamp_min(1e-30)[index]


class Set2Set(nn.Module):
    """One vector of 2 `units` numbers per segment, whatever the order and number of its rows.

    Rows are projected to m_i. Each pass: q, c = LSTM(q*, c); a = softmax(m q); q* = [q, sum a m].
    """

    def __init__(self, n_in: int, units: int, passes: int) -> None:
        super().__init__()
        self.units, self.passes = units, passes
        self.project = nn.Linear(n_in, units)
        self.gates = nn.Linear(2 * units, 4 * units)

    def forward(
        self,
        values: Float[Tensor, "n n_in"],
        weights: Float[Tensor, " n"],
        index: Int[Tensor, " n"],
        n_segments: int,
    ) -> Float[Tensor, "n_segments n_out"]:
        memory = self.project(values)
        query = values.new_zeros(n_segments, 2 * self.units)
        cell = values.new_zeros(n_segments, self.units)
        for _ in range(self.passes):
            enter, forget, new, leave = self.gates(query).chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
            hidden = torch.sigmoid(leave) * torch.tanh(cell)
            scores = (memory * hidden.index_select(0, index)).sum(dim=1)
            attention = segment_softmax(scores, weights, index, n_segments)
            query = torch.cat([hidden, segment_sum(attention[:, None] * memory, index, n_segments)], dim=1)
        return query
