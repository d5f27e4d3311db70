"""Numbers as tables, figures and pages print them."""

import math
from decimal import Decimal

__all__ = ["NO_VALUE", "counted", "figure_text", "parameter_text", "rate_text"]

NO_VALUE = "\N{EN DASH}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is 1: ``1 epoch``, ``1,000 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def figure_text(value: float) -> str:
    """Return a distortion as the paper prints it: 4 significant digits, at most 3 decimals (22.46, 1.972, 0.514).

    Below 0.001, one digit is kept where that would read as 0. NaN is an en dash.
    """
    if math.isnan(value):
        return NO_VALUE
    exponent = math.floor(math.log10(value)) if value > 0 else 0
    decimals = 3 - exponent if exponent >= 0 else max(3, -exponent)
    text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rate_text(value: float) -> str:
    """Return an ASR in percent as the paper prints it: one decimal, none if it is 0 (100, 99.9).

    A rate is never rounded up to 100 or down to 0: that would hide a failure or a success (``> 99.9``, ``< 0.1``). NaN
    is an en dash.
    """
    if math.isnan(value):
        return NO_VALUE
    text = f"{value:.1f}".removesuffix(".0")
    if text == "100" and value < 100.0:
        return "> 99.9"
    return "< 0.1" if text == "0" and value > 0.0 else text


def parameter_text(value: float) -> str:
    """Return β, κ or another hyperparameter with all its digits, so that two values never print the same.

    Those below 0.1 are powers of ten, as in the paper (1e-3, 5e-5). NaN is an empty text.
    """
    if math.isnan(value):
        return ""
    text = repr(float(value)).removesuffix(".0")
    return text if value == 0 or abs(value) >= 0.1 else f"{Decimal(text):e}"
