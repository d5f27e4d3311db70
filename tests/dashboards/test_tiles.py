"""The tiles of heat maps: text that is readable on every colour, and colours that grow lighter with the figure."""

import numpy as np

from eadbench.dashboards.tiles import tile_colours


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb`` or ``#rgb`` (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = np.array([int(digits[place : place + 2], 16) for place in (0, 2, 4)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_text_is_readable_on_every_tile() -> None:
    tiles = [tile_colours(share) for share in np.linspace(0, 1, 101)]
    for background, text in tiles:
        light, dark = sorted((luminance(background), luminance(text)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, background
    assert np.all(np.diff([luminance(background) for background, _ in tiles]) >= 0)
