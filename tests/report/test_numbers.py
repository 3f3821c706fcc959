"""Numbers as text."""

import pytest

from ritz.folders.view import ANY_RUN
from ritz.report.numbers import number_text, with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-11.0, 0.0123, "-11.000 ± 0.012"),
        (-10.0, 1e-16, "-10 ± 1e-16"),
        (1234.5, 20.0, "1234 ± 20"),
        (-10.0, float("inf"), "-10"),
        (-10.0, None, "-10"),
    ],
)
def test_digits_are_those_that_the_error_lets_count(
    value: float, error: float | None, text: str
) -> None:
    assert with_error(value, error) == text


def test_suspect_results_have_no_error() -> None:
    assert number_text("energy", -1.0, ANY_RUN, 0.1, "r_hat") == "-1 (suspect: r_hat)"
    assert number_text("energy", -1.0, ANY_RUN, 0.1, float("nan")) == "-1.00 ± 0.10"
    assert number_text("RMSE_test", 0.0123, ANY_RUN) == "12.3 meV/atom"
