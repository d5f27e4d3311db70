"""The data set of a sweep: loaded, or looked for on this machine alone; and its attacked images with their names."""

from collections.abc import Sequence

from eadbench.harness import datasets
from eadbench.harness.datasets import DataSet, Split
from eadbench.harness.errors import NotHere
from eadbench.harness.parquet.originals import Original
from eadbench.harness.plan.grid import Victim
from eadbench.harness.spec import Spec

__all__ = ["data_here", "load_data", "originals"]


def load_data(spec: Spec) -> DataSet:
    """Load the data set, and fetch it if the spec says so."""
    return datasets.load(spec.dataset.name, **spec.dataset.parameters)


def data_here(spec: Spec) -> DataSet:
    """Load the data set without fetching it.

    Raises
    ------
    NotHere
        It is not on this machine.
    """
    entry = spec.dataset
    if not entry.parameters.get("download"):
        return load_data(spec)
    try:
        return datasets.load(entry.name, **{**entry.parameters, "download": False})
    except NotHere as error:
        name = entry.parameters.get("path") or entry.name
        place = f" in root {root!r}" if (root := entry.parameters.get("root")) else ""
        raise NotHere(
            f"dataset: {name} is not on this machine{place}: `eadbench run` would download it, a plan downloads nothing"
        ) from error


def originals(data: DataSet, name: str, victims: Sequence[Victim]) -> list[Original]:
    """Return the images of a split that some victim is attacked on, with the names of their classes and files."""
    split: Split = getattr(data, name)
    files, images = split.names, sorted({image for victim in victims for image in victim.images})
    return [
        Original(name, image, label, data.class_names[label], None if files is None else files[image])
        for image, label in zip(images, split.labels[images].tolist(), strict=True)
    ]
