"""The colours of the tiles of heat maps and matrices: readable in both themes, in print, and with any colour vision."""

from matplotlib import colormaps
from matplotlib.colors import to_hex

__all__ = ["NO_TILE", "tile_colours"]

_COLOURS = colormaps["cividis"]
_LINEAR = 0.04045
_BLACK_IS_BETTER = 0.179
"""Above this luminance, black text has more contrast than white (WCAG 2.2)."""
NO_TILE = ("transparent", "inherit")
"""The background and the text of a tile without a value."""


def tile_colours(share: float) -> tuple[str, str]:
    """Return the background and the text of a tile, given its share of the scale in [0, 1]."""
    rgb = _COLOURS(share)[:3]
    linear = [value / 12.92 if value <= _LINEAR else ((value + 0.055) / 1.055) ** 2.4 for value in rgb]
    luminance = sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return to_hex(rgb), "#000" if luminance > _BLACK_IS_BETTER else "#fff"
