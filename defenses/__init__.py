"""Defences: how a victim is hardened while it is trained."""

from collections.abc import Callable, Mapping

from eadbench.defenses.adversarial_training import AdversarialTraining
from eadbench.defenses.defense import Defense
from eadbench.defenses.distillation import Distillation, DistillationTeacher
from eadbench.defenses.pgd_training import PGDTraining
from eadbench.defenses.undefended import Undefended

__all__ = ["DEFENSES", "AdversarialTraining", "Defense"]

DEFENSES: Mapping[str, Callable[..., Defense]] = {
    "none": Undefended,
    "distillation": Distillation,
    "distillation_teacher": DistillationTeacher,
    "adversarial_training": AdversarialTraining,
    "pgd_training": PGDTraining,
}
