"""What an indicator is, and how its figure is computed from the evidence on a cell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from eadbench.harness.analysis.evidence import Evidence
from eadbench.harness.numbers import NO_VALUE
from eadbench.harness.plan.accuracies import expected_accuracy

__all__ = [
    "ROUNDING",
    "Finding",
    "Indicator",
    "beyond_kappa",
    "fall",
    "foreign_zero_gradient",
    "if_budget",
    "lacking_accuracy",
    "measured",
    "noise",
    "share",
]

Compute = Callable[[Evidence], float | None]


@dataclass(frozen=True, kw_only=True)
class Indicator:
    """A sign that the figures of a cell cannot be trusted."""

    title: str
    """Its name in words."""
    figure: str
    """What is computed, in words."""
    compute: Compute
    """Returns the figure; None if it is not known."""
    threshold: float
    """It is raised if the figure is greater."""
    cause: str
    remedy: str
    of_victim: bool = False
    """Whether it is about the victim, whatever the attack."""
    explains: tuple[str, ...] = ()
    """Indicators that are not raised beside it, because it is their cause."""
    said: bool = False
    """Whether another warning of the report says it, so that it is no warning of its own."""


class Finding(NamedTuple):
    """An indicator of a cell: its name, its figure (None if it is not known), and whether it is raised."""

    name: str
    figure: float | None
    raised: bool

    @property
    def text(self) -> str:
        """The figure in percent: ``12.5 %``."""
        return NO_VALUE if self.figure is None else f"{100 * self.figure:.3g} %"


def measured(name: str) -> Compute:
    """Return what was measured on the victim."""
    return lambda evidence: evidence.victim.get(name)


def share(name: str) -> Compute:
    """Return the share of a cell's rows that count."""
    return lambda evidence: evidence.counts[name] / evidence.counts["examples"]


def if_budget(compute: Compute) -> Compute:
    """Return the figure of attacks on a budget alone."""
    return lambda evidence: compute(evidence) if evidence.parameters.get("budget") else None


def fall(evidence: Evidence) -> float | None:
    """The mean fall, if half of the examples have one: the others are failures, which `spent` counts."""
    traced = evidence.counts["traced"]
    return evidence.counts["fall"] / traced if traced >= 0.5 * evidence.counts["examples"] else None


def foreign_zero_gradient(evidence: Evidence) -> float | None:
    """Attacks of other packages may descend the cross-entropy as float32 rounds it; ours do not."""
    return evidence.victim.get("zero_gradient_cross_entropy") if ":" in evidence.attack else None


def noise(evidence: Evidence) -> float | None:
    """Return the difference of two runs' logits; 1 if successes had to be tested again."""
    return 1.0 if evidence.counts["random"] else evidence.victim.get("noise")


def beyond_kappa(evidence: Evidence) -> float | None:
    """The share of failures, where κ exceeds the lead of every image that the victim was measured on."""
    lead, kappa = evidence.victim.get("greatest_lead"), evidence.parameters["kappa"]
    if lead is None or not kappa:
        return None
    return 1 - evidence.counts["successes"] / evidence.counts["examples"] if kappa > lead else 0.0


def lacking_accuracy(evidence: Evidence) -> float | None:
    """Return the accuracy that the victim lacks to what is usual."""
    if evidence.accuracy is None:
        return None
    allowance = _COST_OF_HARDENING if evidence.hardened else 0.0
    return max(0.0, expected_accuracy(evidence.dataset, evidence.arch) - allowance - evidence.accuracy)


_COST_OF_HARDENING = 0.2
"""Accuracy that training on adversarial examples may cost."""
ROUNDING = 1e-3
