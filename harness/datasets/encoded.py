"""Data sets of encoded images."""

from collections.abc import Callable, Mapping, Sequence

from eadbench.harness.datasets.classes import Classes
from eadbench.harness.datasets.data_set import DataSet, Split, shape_of
from eadbench.harness.datasets.image_files import Decoder, Encoded, common_mode
from eadbench.harness.datasets.transform import Transform
from eadbench.models import digest_of

__all__ = ["encoded_data_set", "identity_of"]


def encoded_data_set(
    name: str,
    identity: str,
    images: tuple[Encoded, Encoded],
    classes: Classes,
    transform: Transform,
    decoder: Callable[[Encoded, str, Transform], Decoder],
    notes: Sequence[str] = (),
) -> DataSet:
    """Return a data set of encoded images.

    Parameters
    ----------
    name, identity, notes
        As in :class:`DataSet`.
    images
        The training and the test images; there may be no training images.
    classes
        The classes, with the labels of both splits.
    transform
        What each image goes through.
    decoder
        Which decoder reads a split.

    Raises
    ------
    UserError
        The first image is damaged.
    """
    first = next((split for split in images if len(split)), images[1])
    mode = common_mode(first)
    splits = [
        Split(labels, decoder(split, mode, transform)) for labels, split in zip(classes.labels, images, strict=True)
    ]
    return DataSet(
        name=name,
        identity=identity,
        classes=len(classes.names),
        class_names=classes.names,
        shape=shape_of(Decoder(first, mode, transform).one(0)),
        train=splits[0],
        test=splits[1],
        notes=tuple(notes),
    )


def identity_of(name: str, content: Sequence[object], changes: Mapping[str, object]) -> str:
    """Return an identity: a name and the digest of content, with the parameters that differ from their defaults."""
    return f"{name}@{digest_of([*content, *([dict(changes)] if changes else [])])}"
