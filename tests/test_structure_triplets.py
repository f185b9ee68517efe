"""Triplets as exact operations, against gemmi's tables, and translations of any denominator."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lcoms.structure.triplets import arrays, is_group, parse_triplet


@pytest.mark.parametrize("hall", ["-P 2ybc", "-F 4vw 2vw 3", '-R 3 2"', "P 6c -2", "-P 2ac 2n", "I -4bd 2c 3"])
def test_the_operations_of_a_space_group_are_those_of_gemmi_and_a_group(hall: str) -> None:
    import gemmi

    listed = list(gemmi.symops_from_hall(hall))
    parsed = [parse_triplet(op.triplet()) for op in listed]
    rotations, translations = arrays(parsed)
    np.testing.assert_allclose(rotations * 24, [op.rot for op in listed])
    np.testing.assert_allclose(translations * 24, [op.wrap().tran for op in listed])
    assert is_group(parsed)
    assert not is_group([*parsed, parse_triplet("x+1/5,y,z")])
    assert not is_group(parsed[:-1])


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("x+1/5,y,z", Fraction(1, 5)), ("0.3333+x,y,z", Fraction(1, 3)), ("x+.33,y,z", Fraction(1, 3)),
        ("x-0.667,y,z", Fraction(1, 3)), ("x+0.125,y,z", Fraction(1, 8)), ("x+0.0417,y,z", Fraction(1, 24)),
        ("x+0.123,y,z", Fraction(123, 1000)), ("x+3/2,y,z", Fraction(1, 2)), ("+x-.5,y,z", Fraction(1, 2)),
        ("1x+0.5,y,z", Fraction(1, 2)), ("1*x+1/16,y,z", Fraction(1, 16)),
    ],
)  # fmt: skip
def test_translations(text: str, translation: Fraction) -> None:
    operation = parse_triplet(text)
    assert operation.translation == (translation, 0, 0)
    assert operation.rotation == parse_triplet("x,y,z").rotation


def test_products() -> None:
    screw, shift = parse_triplet("-x,y+1/2,-z"), parse_triplet("x+1/5,y,z")
    assert screw * screw == parse_triplet("x,y,z")
    assert shift * screw == parse_triplet("1/5-x,y+1/2,-z")
    assert screw * shift == parse_triplet("4/5-x,y+1/2,-z")


@pytest.mark.parametrize("text", ["x,y", "x,y,", "x,y,w", "x,y,1/0", "xy,y,z", "x,,z", "x+,y,z", "x,y,z1"])
def test_what_is_no_triplet_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"components in|is not a|is empty"):
        parse_triplet(text)
