"""From the images that a spec names, alone or with target classes, to their indices in a split."""

from collections.abc import Mapping, Sequence

from eadbench.harness.datasets import Split
from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.harness.spec import FileTargets
from eadbench.harness.spec.target_file import pairs

__all__ = ["chosen_images", "given_targets"]


def chosen_images(given: Sequence[int | str] | str | None, split: Split) -> list[int]:
    """Return the images that a spec chooses by index or by name, in its order.

    Raises
    ------
    UserError
        An image is unknown, or is there twice.
    """
    chosen = [str(image) for image in given or ()]
    images = _images_of(chosen, split)
    indices = [images.index(image, f"images.indices: {shown(image)}") for image in chosen]
    if len(set(indices)) < len(indices):
        image, again = next(
            (a, b) for j, b in enumerate(chosen) for i, a in enumerate(chosen[:j]) if indices[i] == indices[j]
        )
        raise UserError(f"images.indices: {shown(image)} and {shown(again)} are one image; leave out one")
    return indices


def given_targets(given: FileTargets, split: Split, class_names: Sequence[str]) -> dict[int, list[int]]:
    """Return the target classes of each image in a file of targets, ascending, by the image's index.

    An image is an index, or a file's name with as many of its folders as tell it from others. A target is a class's
    name, or else its number.

    Raises
    ------
    UserError
        An image or a class is unknown, a target is the image's own class, or a row is there twice.
    """
    rows = pairs(given)
    images = _images_of([image for image, _ in rows], split)
    classes = {str(number): number for number in range(len(class_names))}
    classes |= {name: number for number, name in enumerate(class_names)}
    targets: dict[int, list[int]] = {}
    for image, target in rows:
        where = f"targets: {given.file}: image {shown(image)}, target {shown(target)}"
        index = images.index(image, where)
        if target not in classes:
            known = f"0..{len(class_names) - 1}"
            raise UserError(f"{where}: the target must be the name of a class or its number in {known}")
        label = classes[target]
        if label == split.labels[index]:
            raise UserError(f"{where}: is the image's own class; give another, or leave the row out")
        if label in targets.setdefault(index, []):
            raise UserError(f"{where}: is there twice; leave one row out")
        targets[index].append(label)
    return {image: sorted(labels) for image, labels in targets.items()}


def _images_of(names: Sequence[str], split: Split) -> "_Images":
    """Return the images of a split, by index and, if one is called by a name, by the names of its files."""
    named = any(not _is_number(name) for name in names)
    return _Images(split, _by_name(split.names) if named and split.names is not None else {})


class _Images:
    """The images of a split, by index or by name."""

    def __init__(self, split: Split, by_name: Mapping[str, int | None]) -> None:
        self._split, self._by_name = split, by_name

    def index(self, image: str, where: str) -> int:
        """Return the index of an image."""
        if _is_number(image):
            if len(image) < 19 and int(image) < len(self._split):
                return int(image)
            raise UserError(f"{where}: the image must be in 0..{len(self._split) - 1} of the {self._split.name} split")
        if image not in self._by_name:
            named = f"no file of the {self._split.name} split is called so"
            raise UserError(f"{where}: {named if self._by_name else 'the data set has no file names; give an index'}")
        index = self._by_name[image]
        if index is None:
            raise UserError(f"{where}: several images are called so; give the folder too, such as cat/{image}")
        return index


def _is_number(image: str) -> bool:
    return image.isascii() and image.isdecimal() and (image == "0" or not image.startswith("0"))


def _by_name(names: Sequence[str]) -> dict[str, int | None]:
    """Return the image of each name, with and without its first folders; None where several have it."""
    images: dict[str, int | None] = {}
    for index, name in enumerate(names):
        parts = name.split("/")
        for first in range(len(parts)):
            key = "/".join(parts[first:])
            images[key] = None if key in images else index
    return images
