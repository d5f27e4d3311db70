"""Adversarial attacks on image classifiers, each as its paper states it.

Images are float tensors (N, C, H, W) in [0, 1]; a model maps them to logits (N, K) and normalises inside itself.
An attack is a frozen dataclass of its hyperparameters, called as ``attack(model, images, targets)``; it returns an
:class:`AttackResult`, which maps a decision rule (or a norm) to the :class:`Adversarial` examples that it keeps.
"""

from eadbench.attacks.carlini_wagner import COV, CarliniWagner
from eadbench.attacks.ead import EAD
from eadbench.attacks.fgm import FGM
from eadbench.attacks.ifgm import IFGM
from eadbench.attacks.result import Adversarial, AttackResult

ATTACKS = {"ead": EAD, "cw": CarliniWagner, "cov": COV, "fgm": FGM, "ifgm": IFGM}

__all__ = ["ATTACKS", "COV", "EAD", "FGM", "IFGM", "Adversarial", "AttackResult", "CarliniWagner"]
