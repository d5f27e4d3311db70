"""Data sets by name: images in [0, 1] and labels, in a train and a test split."""

from eadbench.harness.datasets.datasets import (
    DATASETS,
    DataSet,
    Split,
    at_hand,
    cifar10,
    digits,
    folder,
    gather,
    load,
    mnist,
    parquet,
)

__all__ = [
    "DATASETS",
    "DataSet",
    "Split",
    "at_hand",
    "cifar10",
    "digits",
    "folder",
    "gather",
    "load",
    "mnist",
    "parquet",
]
