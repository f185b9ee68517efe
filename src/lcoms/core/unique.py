"""Items that are the same by a relation that need not be an equality: crystals that match, orbits that overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def grouped(items: Iterable[T], same: Callable[[T, T], bool]) -> list[list[T]]:
    """Return groups of items; each item joins the first group whose first item is the same.

    Args:
        same: called with the first item of a group and a later item.
    """
    groups: list[list[T]] = []
    for item in items:
        group = next((group for group in groups if same(group[0], item)), None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return groups


def unique(items: Iterable[T], same: Callable[[T, T], bool], *, most: int | None = None) -> list[T]:
    """Return the items that are not the same as an earlier one that was kept.

    Args:
        same: called with a kept and a later item.
        most: maximum number of items kept; further items are not consumed.
    """
    taken: list[T] = []
    left = iter(items)
    while most is None or len(taken) < most:
        try:
            item = next(left)
        except StopIteration:
            break
        if not any(same(earlier, item) for earlier in taken):
            taken.append(item)
    return taken
