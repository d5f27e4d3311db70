"""Built-in data sets: MNIST and CIFAR-10 from the paper, and scikit-learn's digits for tests and first steps."""

import contextlib
import sys
from typing import Any

import torch

from eadbench.harness.datasets.data_set import DataSet, in_memory, numbered
from eadbench.harness.datasets.idx import with_gzipped
from eadbench.harness.errors import NotHere
from eadbench.harness.messages import one_line

__all__ = ["cifar10", "digits", "mnist"]


def digits() -> DataSet:
    """scikit-learn's digits: 1397 training and 400 test images, 8x8 grey, stratified by class."""
    from sklearn.datasets import load_digits  # takes seconds to import

    bunch = load_digits()
    images = torch.from_numpy(bunch.images / 16).float().unsqueeze(1)
    labels = torch.from_numpy(bunch.target)
    # Take evenly spaced images in the order of their class: stratified, and independent of random generators.
    by_class = torch.argsort(labels, stable=True)
    test = torch.zeros(len(labels), dtype=torch.bool)
    test[by_class[torch.arange(400) * len(labels) // 400]] = True
    return in_memory("digits", (images[~test], labels[~test]), (images[test], labels[test]), numbered(10))


def mnist(root: str = "data", download: bool = True) -> DataSet:
    """MNIST, 60,000 and 10,000 images, 28x28 grey, in `root`/MNIST/raw as in torchvision, gzipped or not.

    Parameters
    ----------
    root
        The folder of data sets.
    download
        Whether to fetch the files if they are not there.
    """
    train, test = _torchvision("MNIST", "MNIST", root, download)
    return in_memory(
        "mnist",
        (train.data.unsqueeze(1), train.targets),
        (test.data.unsqueeze(1), test.targets),
        numbered(10),
    )


def cifar10(root: str = "data", download: bool = True) -> DataSet:
    """CIFAR-10, 50,000 and 10,000 images, 32x32 RGB, in `root`/cifar-10-batches-py as in torchvision.

    Parameters
    ----------
    root
        The folder of data sets.
    download
        Whether to fetch the files if they are not there.
    """
    train, test = _torchvision("CIFAR10", "CIFAR-10", root, download)
    return in_memory(
        "cifar10",
        (torch.from_numpy(train.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(train.targets)),
        (torch.from_numpy(test.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(test.targets)),
        tuple(train.classes),
    )


def _torchvision(name: str, title: str, root: str, download: bool) -> tuple[Any, Any]:
    """Return the training and the test split of a data set of torchvision."""
    import torchvision.datasets

    kind = with_gzipped(getattr(torchvision.datasets, name))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints its progress
            return kind(root, train=True, download=download), kind(root, train=False, download=download)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        reason = one_line(error)
        raise NotHere(
            f"{title} is not in root {root!r} and was not fetched ({reason}); put torchvision's files there, "
            "give the root that has them, or run once with a network and download: true"
        ) from error
