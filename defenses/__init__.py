"""Defences: how training, or a module in front of the network, hardens a victim.

:class:`Defense` is the protocol for defences of your own. One that only puts a module in front of the network inherits
from :class:`Undefended` and writes `wrap`.
"""

from collections.abc import Callable, Mapping

from eadbench.defenses.adversarial_training import AdversarialTraining
from eadbench.defenses.brelu_augmentation import BReLUAugmentation
from eadbench.defenses.defense import Crafting, Defense, breaches
from eadbench.defenses.distillation import Distillation, DistillationTeacher
from eadbench.defenses.ensemble_adversarial_training import EnsembleAdversarialTraining
from eadbench.defenses.pgd_training import PGDTraining
from eadbench.defenses.squeezed import Squeezed
from eadbench.defenses.stability_training import StabilityTraining
from eadbench.defenses.trades import Trades
from eadbench.defenses.undefended import Undefended

__all__ = ["DEFENSES", "Crafting", "Defense", "Undefended", "breaches"]

DEFENSES: Mapping[str, Callable[..., Defense]] = {
    "none": Undefended,
    "distillation": Distillation,
    "distillation_teacher": DistillationTeacher,
    "adversarial_training": AdversarialTraining,
    "pgd_training": PGDTraining,
    "trades": Trades,
    "stability_training": StabilityTraining,
    "brelu_augmentation": BReLUAugmentation,
    "squeezed": Squeezed,
    "ensemble_adversarial_training": EnsembleAdversarialTraining,
}
"""Defences by the names that a spec gives them."""
