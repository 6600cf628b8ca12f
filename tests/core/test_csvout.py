"""CSV for spreadsheets: nothing in it runs."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshportal.core import csvout


@pytest.mark.parametrize("value", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1"])
def test_a_formula_becomes_text(value: str) -> None:
    assert csvout.safe(value).startswith("'")


@given(st.lists(st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n\0")), min_size=2, max_size=2), max_size=5))
def test_what_goes_in_comes_out(rows: list[list[str]]) -> None:
    text = "".join(csvout.lines(["a", "b"], rows)).removeprefix("\ufeff")
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [["a", "b"], *[[csvout.safe(cell) for cell in row] for row in rows]]
