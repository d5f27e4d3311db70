"""Accuracies that networks reach, to tell a weak victim: those of papers, and usual ones."""

from collections.abc import Mapping

__all__ = ["expected_accuracy", "usual_accuracy"]

LEAST_ACCURACY = 0.5
"""Accuracy below which something is wrong with a victim, rather than with an attack."""
USUAL: Mapping[str, float] = {"mnist": 0.98, "cifar10": 0.7}
"""Accuracy that a small network reaches in minutes, by the data set's name: C&W's have 0.995 and 0.80."""
PUBLISHED: Mapping[tuple[str, str], float] = {
    ("mnist", "cw_mnist"): 0.995,  # Carlini & Wagner 2017, section IV
    ("cifar10", "cw_cifar10"): 0.80,  # the same
}
"""Accuracy on the test split of an architecture without a defence, by data set and architecture."""


def usual_accuracy(dataset: str) -> float:
    """Return the accuracy that any network should have on a data set."""
    return USUAL.get(dataset, LEAST_ACCURACY)


def expected_accuracy(dataset: str, arch: str) -> float:
    """Return the accuracy that a network without a defence reaches on a data set, as far as it is known."""
    return PUBLISHED.get((dataset, arch), usual_accuracy(dataset))
