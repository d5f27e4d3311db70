"""Detectors: tests that accept or reject an input of a victim. :class:`Detector` is the base of your own."""

from collections.abc import Callable, Mapping

from eadbench.defenses.detectors.detector import Detector, Fitted, breaches, scores_of
from eadbench.defenses.detectors.feature_squeezing import FeatureSqueezing
from eadbench.defenses.detectors.kernel_density import KernelDensity
from eadbench.defenses.detectors.mmd import MMD
from eadbench.defenses.detectors.outlier_class import OutlierClass
from eadbench.defenses.detectors.safetynet import SafetyNet

__all__ = ["DETECTORS", "Detector", "Fitted", "breaches", "scores_of"]

DETECTORS: Mapping[str, Callable[..., Detector]] = {
    "feature_squeezing": FeatureSqueezing,
    "kernel_density": KernelDensity,
    "mmd": MMD,
    "outlier_class": OutlierClass,
    "safetynet": SafetyNet,
}
"""Detectors by the names that a spec gives them."""
