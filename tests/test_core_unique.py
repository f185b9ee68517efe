"""The first of equal items is kept; an item that equals only a dropped one is not dropped."""

from __future__ import annotations

import pytest

from lcoms.core.unique import grouped, unique


def near(first: float, second: float) -> bool:
    return abs(first - second) <= 1


def test_the_first_stands_for_those_that_are_the_same() -> None:
    assert unique([5, 5.5, 9, 4, 9.5], near) == [5, 9]
    assert grouped([5, 5.5, 9, 4, 9.5], near) == [[5, 5.5, 4], [9, 9.5]]
    assert unique([], near) == grouped([], near) == []


def test_a_chain_is_not_one_group() -> None:
    assert unique([0, 1, 2, 3], near) == [0, 2]
    assert grouped([0, 1, 2, 3], near) == [[0, 1], [2, 3]]


@pytest.mark.parametrize(("most", "expected", "seen"), [(0, [], 0), (1, [0], 1), (2, [0, 2], 3), (9, [0, 2, 4], 6)])
def test_no_more_are_taken_or_looked_at_than_asked_for(most: int, expected: list[int], seen: int) -> None:
    looked_at: list[int] = []

    def items():
        for n in range(6):
            looked_at.append(n)
            yield n

    assert unique(items(), near, most=most) == expected
    assert len(looked_at) == seen


def test_the_relation_is_asked_with_the_earlier_one_first() -> None:
    asked: list[tuple[int, int]] = []

    def remember(first: int, second: int) -> bool:
        asked.append((first, second))
        return False

    unique([1, 2, 3], remember)
    grouped([1, 2], remember)
    assert asked == [(1, 2), (1, 3), (2, 3), (1, 2)]
