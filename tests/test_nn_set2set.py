"""Set2Set is invariant to order, and a weight is equivalent to copies."""

from __future__ import annotations

import torch

from lcoms.nn.set2set import Set2Set, segment_softmax


def test_weights_count_like_copies_and_segments_do_not_mix() -> None:
    scores, index = torch.tensor([0.3, -1.0, 500.0, 499.0]), torch.tensor([0, 0, 1, 1])
    shares = segment_softmax(scores, torch.tensor([2.0, 1.0, 1.0, 3.0]), index, 2)
    copies = torch.softmax(torch.tensor([0.3, 0.3, -1.0]), 0)
    torch.testing.assert_close(shares[:2], torch.stack([copies[:2].sum(), copies[2]]))
    torch.testing.assert_close(shares[2] / shares[3], torch.tensor(torch.e / 3))
    torch.testing.assert_close(shares[2:].sum(), torch.tensor(1.0))


def test_readout_of_a_set() -> None:
    torch.manual_seed(0)
    layer, values, index = Set2Set(5, 4, 3), torch.randn(7, 5), torch.tensor([0, 1, 0, 1, 1, 0, 2])
    ones = torch.ones(7)
    found = layer(values, ones, index, 4)
    order = torch.randperm(7)
    torch.testing.assert_close(layer(values[order], ones, index[order], 4), found)
    doubled = layer(values.repeat(2, 1), ones.repeat(2), index.repeat(2), 4)
    torch.testing.assert_close(doubled, found)
    torch.testing.assert_close(layer(values, 2.0 * ones, index, 4), found)
    assert found.shape == (4, 8)
    assert found.isfinite().all()
    assert not torch.allclose(found[0], found[1])
    moved = values.clone()
    moved[6] += 1.0
    changed = (layer(moved, ones, index, 4) - found).abs().amax(dim=1) > 1e-4
    assert changed.tolist() == [False, False, True, False]
