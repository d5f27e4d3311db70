"""The file that a spec's `images.indices` names: an image on each line.

A resolved spec keeps the lines, so that it stands alone.
"""

from collections.abc import Sequence

from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line, shown
from eadbench.harness.places import refuse_elsewhere
from eadbench.harness.spec.schema import Images
from eadbench.harness.spec.target_file import MOST_ROWS
from eadbench.harness.storage import located

__all__ = ["with_indices"]


def with_indices(images: Images, *, code: bool) -> Images:
    """Return images with the list of the chosen ones, which is read if a file has it.

    Parameters
    ----------
    code
        False for the spec in a results folder, for which no other file is read.

    Raises
    ------
    UserError
        The file cannot be read or has no or too many lines, or an image is there twice.
    """
    where, given = "images.indices", images.indices
    if given is None:
        return images
    if isinstance(given, str):
        if not code:
            raise UserError(f"{where}: must be a list; got {shown(given)}")
        given = _read(given, where)
    if twice := [image for image, count in _counts(given).items() if count > 1]:
        raise UserError(f"{where}: has the image {shown(twice[0])} twice; leave out one")
    return images.model_copy(update={"indices": list(given)})


def _read(text: str, where: str) -> list[int | str]:
    """Return the lines of a file, those of digits as numbers; empty lines and those that begin with # are left out."""
    refuse_elsewhere(text, where)
    try:
        lines = [line.strip() for line in located(text).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError, UserError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(
            f"{where}: {text} cannot be read: {reason}; give a text file with an image on a line"
        ) from error
    images = [line for line in lines if line and not line.startswith("#")]
    if not 0 < len(images) <= MOST_ROWS:
        raise UserError(f"{where}: {text} must have 1 to {MOST_ROWS:,} lines, got {len(images):,}")
    return [int(image) if image.isascii() and image.isdecimal() and len(image) < 19 else image for image in images]


def _counts(images: Sequence[int | str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for image in images:
        counts[str(image)] = counts.get(str(image), 0) + 1
    return counts
