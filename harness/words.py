"""Figures, parameters and defences as tables, curves and reports write them."""

import math

NO_VALUE = "\N{EN DASH}"


def figure_text(value: float) -> str:
    """Format a distortion as the paper does: 4 significant digits, at most 3 decimals (22.46, 1.972, 0.514).

    Below 0.001, where that would read as 0, one digit is kept; NaN is an en dash.
    """
    if math.isnan(value):
        return NO_VALUE
    exponent = math.floor(math.log10(value)) if value > 0 else 0
    decimals = 3 - exponent if exponent >= 0 else max(3, -exponent)
    text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rate_text(value: float) -> str:
    """Format an ASR in percent as the paper does: one decimal, none if it is 0 (100, 99.9)."""
    return f"{value:.1f}".removesuffix(".0")


def defense_text(defense: str, temperature: float | None) -> str:
    """Format a defence: ``no defence``, ``distillation T = 100``."""
    text = "no defence" if defense == "none" else str(defense).replace("_", " ")
    return text if temperature is None or math.isnan(temperature) else f"{text} T = {temperature:g}"


def parameter_text(value: float) -> str:
    """Format beta or kappa: small ones as the paper's powers of ten (1e-3, 5e-5); empty for none."""
    if math.isnan(value):
        return ""
    if value == 0 or value >= 0.1:
        return f"{value:g}"
    mantissa, exponent = f"{value:e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
