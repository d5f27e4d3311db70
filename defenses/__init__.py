"""Defences: how a victim is hardened while it is trained."""

from collections.abc import Callable, Mapping

from defenses.adversarial_training import AdversarialTraining
from defenses.defense import Defense
from defenses.distillation import Distillation, DistillationTeacher
from defenses.pgd_training import PGDTraining
from defenses.undefended import Undefended

__all__ = ["DEFENSES", "AdversarialTraining", "Defense"]

DEFENSES: Mapping[str, Callable[..., Defense]] = {
    "none": Undefended,
    "distillation": Distillation,
    "distillation_teacher": DistillationTeacher,
    "adversarial_training": AdversarialTraining,
    "pgd_training": PGDTraining,
}
