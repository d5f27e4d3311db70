"""The transform that image files go through: resize the shorter side, keep the centre square."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from eadbench.harness.errors import UserError

__all__ = ["MAX_PIXELS", "Interpolation", "Transform"]

MAX_PIXELS = 2**26
"""The most pixels of an image, as stored and as resized."""

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Resize an image's shorter side to `size`, then keep the centre square of `crop`.

    Parameters
    ----------
    size
        Pixels of the shorter side; None does not resize.
    crop
        Side of the square; unless given, `size`. With neither, images stay as they are.
    interpolation
        How resizing interpolates.

    Raises
    ------
    UserError
        A length is not positive, or `crop` exceeds `size`.
    """

    size: int | None = None
    crop: int | None = None
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        for name in ("size", "crop"):
            length = getattr(self, name)
            if length is not None and length < 1:
                raise UserError(f"{name} must be a positive number of pixels, got {length}")
        if self.size is not None and self.crop is not None and self.crop > self.size:
            raise UserError(f"crop must be at most size, {self.size}; got {self.crop}")

    @property
    def changes(self) -> dict[str, object]:
        """The parameters that differ from their defaults, for the data set's identity."""
        changes: dict[str, object] = {} if self.size is None else {"size": self.size}
        if self.crop is not None and self.crop != self.size:
            changes["crop"] = self.crop
        if self.interpolation != "bilinear":
            changes["interpolation"] = self.interpolation
        return changes

    def __call__(self, image: Image.Image, where: str) -> Image.Image:
        """Return the transformed image; `where` names it for messages.

        Raises
        ------
        UserError
            The image is smaller than `crop`, or too large once it is resized.
        """
        if self.size is not None:
            image = self._resized(image, self.size, where)
        side = self.crop if self.crop is not None else self.size
        if side is None:
            return image
        if min(image.size) < side:
            raise UserError(f"{where} has {image.width}x{image.height} pixels, fewer than crop: {side}; give a size")
        left, top = round((image.width - side) / 2), round((image.height - side) / 2)  # as torchvision rounds
        return image.crop((left, top, left + side, top + side))

    def _resized(self, image: Image.Image, size: int, where: str) -> Image.Image:
        shorter, longer = sorted(image.size)
        longer = size * longer // shorter
        if size * longer > MAX_PIXELS:
            raise UserError(f"{where} has {image.width}x{image.height} pixels, too narrow to resize to {size}")
        shape = (size, longer) if image.width <= image.height else (longer, size)
        return image.resize(shape, Image.Resampling[self.interpolation.upper()])
