"""How numbers are printed: as in the paper's tables."""

from __future__ import annotations

import math

import pytest

from eadbench.harness.numbers import NO_VALUE, counted, figure_text, parameter_text, rate_text


def test_one_thing_is_in_the_singular() -> None:
    assert [counted(count, "epoch") for count in (0, 1, 1000)] == ["0 epochs", "1 epoch", "1,000 epochs"]


@pytest.mark.parametrize(
    "text", ["22.46", "1.972", "0.514", "100.4", "21640", "1326", "61", "0.004", "0.03", "7.1", "2338", "0"]
)
def test_distortions_are_printed_as_in_the_paper(text: str) -> None:
    assert figure_text(float(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (22.4649, "22.46"),
        (9.99961, "10"),
        (999.96, "1000"),
        (21638.4, "21640"),
        (0.51449, "0.514"),
        (0.9999, "1"),
        (0.00042, "0.0004"),
        (3.2e-6, "0.000003"),
        (math.nan, NO_VALUE),
    ],
)
def test_distortions_are_rounded(value: float, text: str) -> None:
    assert figure_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(100.0, "100"), (99.94, "99.9"), (0.0, "0"), (34.6, "34.6")])
def test_rates_are_printed_as_in_the_paper(value: float, text: str) -> None:
    assert rate_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(99.967, "> 99.9"), (99.95, "> 99.9"), (100 - 1e-9, "> 99.9"), (0.04, "< 0.1"), (1e-9, "< 0.1"), (0.06, "0.1")],
)
def test_rates_are_never_rounded_to_all_or_nothing(value: float, text: str) -> None:
    assert rate_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((1e-3, "1e-3"), (5e-5, "5e-5"), (0.025, "2.5e-2"), (0.5, "0.5"), (0.0, "0"), (60.0, "60"), (1e-10, "1e-10")),
        *((0.001000001, "1.000001e-3"), (0.00100000001, "1.00000001e-3"), (1.00000001, "1.00000001"), (-0.5, "-0.5")),
    ],
)
def test_parameters_are_printed_as_in_the_paper(value: float, text: str) -> None:
    assert parameter_text(value) == text
