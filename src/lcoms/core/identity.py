"""In what the options of an earlier run differ from those of this one, told in the words of the options."""

from __future__ import annotations

from typing import Any

MOST = 3


def differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    """Options that differ, with both values; at most three of them.

    Args:
        theirs: as read from JSON.
        ours: the same.
        name: of the option that the two are values of.
    """
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
        return [text for key in names for text in differences(theirs.get(key), ours.get(key), key)][:MOST]
    if isinstance(theirs, dict) or isinstance(ours, dict):
        return [f"{name}: {'with' if isinstance(theirs, dict) else 'without'} there"]
    return [f"{name} is {theirs} there, {ours} here"]
