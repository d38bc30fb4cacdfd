"""How numbers are written, wherever they stand."""

from __future__ import annotations

from math import inf, nan

import pytest

from curvcli.report.numbers import change, error, number, or_dash, share, typeset
from curvcli.report.units import of_function


def test_numbers_have_four_digits_or_as_many_as_are_said() -> None:
    assert [number(value) for value in (0.0, 123456.0, -1e-9, inf, nan)] == ["0", "1.235e+05", "-1e-09", "inf", "nan"]
    assert number(1 / 3, 10) == "0.3333333333"


def test_a_number_that_is_not_there_is_a_dash_and_one_that_came_out_as_nan_is_said() -> None:
    assert [or_dash(nan), or_dash(nan, "nonfinite"), share(nan), share(nan, "nonfinite")] == [
        "-",
        "nan",
        "-",
        "nan%",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.0%"), (1e-6, "<0.1%"), (0.0005, "0.1%"), (0.25, "25.0%"), (1.0, "100.0%")]
)
def test_a_share_that_is_not_zero_never_reads_as_zero(value: float, text: str) -> None:
    assert share(value) == text


def test_errors_and_changes_are_short() -> None:
    assert [error(value) for value in (0.0, nan, 0.0123)] == ["-", "-", "0.012"]
    assert [change(ratio) for ratio in (nan, inf, 1e-5, 0.25, -0.5, 20.0)] == [
        "-",
        "-",
        "0.0%",
        "+25.0%",
        "-50.0%",
        "+2e+03%",
    ]


def test_figures_have_the_minus_sign_of_print() -> None:
    assert typeset(number(-1e-9)) == "−1e−09"


def test_units_of_derivatives_name_their_order() -> None:
    assert [of_function("u", order) for order in range(4)] == ["u", "u/input", "u/input²", "u/input³"]
