"""Differences between the options of an earlier run and of this one, in terms of the options."""

from __future__ import annotations

from typing import Any

MOST = 3  # differences told one by one


def differences(theirs: Any, ours: Any) -> list[str]:
    """Return the options that differ, with both values; of more than three, the others as a number.

    Args:
        theirs: options of the earlier run, as read from JSON.
        ours: options of this run, in the same form.
    """
    every = _differences(theirs, ours, "")
    return every if len(every) <= MOST else [*every[:MOST], f"and {len(every) - MOST} more"]


def _differences(theirs: Any, ours: Any, name: str) -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
        return [text for key in names for text in _differences(theirs.get(key), ours.get(key), key)]
    if isinstance(theirs, dict) or isinstance(ours, dict):
        return [f"{name}: {'with' if isinstance(theirs, dict) else 'without'} there"]
    return [f"{name} is {theirs} there, {ours} here"]
