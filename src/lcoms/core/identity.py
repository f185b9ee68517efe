"""Differences between the options of an earlier run and of this one, in terms of the options."""

from __future__ import annotations

from typing import Any

MOST = 3


def differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    """Return the options that differ, with both values; at most three.

    Args:
        theirs: options of the earlier run, as read from JSON.
        ours: options of this run, in the same form.
        name: name of the option whose values these are.
    """
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
        return [text for key in names for text in differences(theirs.get(key), ours.get(key), key)][:MOST]
    if isinstance(theirs, dict) or isinstance(ours, dict):
        return [f"{name}: {'with' if isinstance(theirs, dict) else 'without'} there"]
    return [f"{name} is {theirs} there, {ours} here"]
