"""Tables in the terminal: no name or number is broken or cut, whatever the width."""

from __future__ import annotations

from lcoms.cli.text_table import table_lines

HEADINGS = ("", "formula", "eV/atom", "file")
ROWS = [("1", "NaCl", "-3.371", "a.cif\n= b.cif"), ("2", "NaCl", "-13.292", "c.cif")]


def test_columns_are_aligned_and_a_second_name_stands_below_the_first() -> None:
    assert table_lines(HEADINGS, ROWS, left=["formula"], width=80) == [
        "   formula  eV/atom  file",
        "1  NaCl      -3.371  a.cif",
        "                     = b.cif",
        "2  NaCl     -13.292  c.cif",
    ]


def test_names_that_do_not_fit_get_lines_of_their_own() -> None:
    assert table_lines(HEADINGS, ROWS, left=["formula"], width=25) == [
        "   formula  eV/atom",
        "   file",
        "1  NaCl      -3.371",
        "   a.cif",
        "   = b.cif",
        "2  NaCl     -13.292",
        "   c.cif",
    ]


def test_without_a_terminal_each_row_is_one_line() -> None:
    lines = table_lines(HEADINGS, [("1", "NaCl", "-3.371", 300 * "x")])
    assert lines[1].endswith("  " + 300 * "x")


def test_wide_characters_count_twice() -> None:
    rows = [("1", "NaCl", "-3.371", "食塩")]
    assert len(table_lines(HEADINGS, rows, width=25)) == 2
    assert len(table_lines(HEADINGS, rows, width=24)) == 4
