"""Distance graphs: counts of structures known by hand, and the information kept by merging."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import caesium_chloride, perovskite, rock_salt, shaken, wurtzite

from lcoms.nn.distance_graph import DistanceGraph, distance_graph, merged
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal


def graph_of(*crystals: Crystal, cutoff: float = 5.0) -> DistanceGraph:
    return distance_graph(CrystalBatch.from_crystals(list(crystals), torch.float64), cutoff)


def described(graph: DistanceGraph) -> list[tuple[int, int, float, int]]:
    columns = (graph.target, graph.source, graph.distance, graph.edge_count)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    numbers = graph.atomic_numbers.tolist()
    return sorted((numbers[t], numbers[s], round(d, 4), int(n)) for t, s, d, n in rows)


def test_rock_salt_has_two_kinds_of_atoms_and_three_shells() -> None:
    whole = graph_of(rock_salt(5.6))
    assert len(whole.distance) == 2 * 26
    small = merged(whole, tolerance=1e-3)
    shells = [(2.8, 6), (round(5.6 / 2**0.5, 4), 12), (round(5.6 / 2 * 3**0.5, 4), 8)]
    expected = [(a, a if n == 12 else b, d, n) for a, b in ((11, 17), (17, 11)) for d, n in shells]
    assert described(small) == sorted(expected)
    assert small.node_count.tolist() == [1, 1]


def test_equivalent_atoms_become_one_and_others_do_not() -> None:
    small = merged(graph_of(perovskite(), wurtzite()), tolerance=1e-3)
    assert small.atomic_numbers.tolist() == [38, 22, 8, 30, 8]
    assert small.node_count.tolist() == [1, 1, 3, 2, 2]
    assert small.crystal_idx.tolist() == [0, 0, 0, 1, 1]
    lowered = merged(graph_of(shaken(perovskite(), 0.1)), tolerance=1e-3)
    assert lowered.node_count.tolist() == [1] * 5


def test_equal_atoms_of_different_surroundings_stay_apart() -> None:
    """The two kinds of carbon in a chain C-C-O have different neighbors and are distinguished in the second round."""
    chain = Crystal(
        np.diag([12.0, 9.0, 9.0]), np.array([[0.0, 0, 0], [1.4 / 12, 0, 0], [2.8 / 12, 0, 0]]), np.array([6, 6, 8])
    )
    small = merged(graph_of(chain, cutoff=1.5), tolerance=1e-3)
    assert small.node_count.tolist() == [1, 1, 1]
    assert len(small.distance) == 4


def test_supercells_and_batches_merge_to_the_same() -> None:
    cell = shaken(caesium_chloride(), 0.1)
    double = Crystal(
        np.diag([2.0, 1.0, 1.0]) @ cell.lattice,
        np.concatenate([(cell.frac_coords + shift) / [2, 1, 1] for shift in ([0, 0, 0], [1, 0, 0])]),
        np.tile(cell.atomic_numbers, 2),
    )
    one, two = (merged(graph_of(c), tolerance=1e-4) for c in (cell, double))
    assert described(one) == described(two)
    assert two.node_count.tolist() == [2, 2]
    both = merged(graph_of(double, cell), tolerance=1e-4)
    torch.testing.assert_close(both.distance, torch.cat([two.distance, one.distance]))
    assert both.source.tolist() == [*two.source.tolist(), *(one.source + 2).tolist()]


def test_merging_keeps_all_edges() -> None:
    whole = graph_of(perovskite(), wurtzite(), rock_salt())
    small = merged(whole, tolerance=1e-3)
    counts = (small.edge_count * small.node_count[small.target]).sum()
    assert float(counts) == len(whole.distance)
    sums = (small.edge_count * small.node_count[small.target] * small.distance).sum()
    assert float(sums) == pytest.approx(float(whole.distance.sum()), rel=1e-9)


def test_lonely_atoms_have_no_edges() -> None:
    lonely = Crystal(9.0 * np.eye(3), np.zeros((1, 3)), np.array([2]))
    graph = graph_of(lonely, rock_salt())
    assert int((graph.target == 0).sum()) == 0
    assert merged(graph, tolerance=1e-3).node_count.tolist() == [1, 1, 1]
    assert len(merged(graph_of(lonely), tolerance=1e-3).distance) == 0
