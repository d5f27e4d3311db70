"""Adversarial attacks on image classifiers, each as its paper states it.

Images are float tensors (N, C, H, W) in [0, 1]. A model maps them to logits (N, K) and normalises inside itself.
An attack is a frozen dataclass of its hyperparameters, called as ``attack(model, images, labels)``. It returns an
:class:`AttackResult`, which maps each decision rule (or the norm) to the :class:`Adversarial` examples that it keeps.
:class:`Attack` is the protocol for attacks of your own; ``eadbench.attacks.contract`` checks them.
"""

from collections.abc import Callable, Mapping

from eadbench.attacks.alma import ALMA
from eadbench.attacks.apgd import APGD
from eadbench.attacks.apgd_l1 import APGDL1
from eadbench.attacks.attack import Attack, Traits, breaches, traits_of
from eadbench.attacks.autoattack import AutoAttack
from eadbench.attacks.budgeted import Budgeted
from eadbench.attacks.budgeted_cw import BudgetedCarliniWagner
from eadbench.attacks.budgeted_ead import BudgetedEAD
from eadbench.attacks.carlini_wagner import COV, CarliniWagner
from eadbench.attacks.ddn import DDN
from eadbench.attacks.deepfool import DeepFool
from eadbench.attacks.ead import EAD
from eadbench.attacks.engine.confirm import confirmed, survival
from eadbench.attacks.engine.figures import figures_of
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.probe import Probe, probe
from eadbench.attacks.engine.quantise import Quantised, nearest_levels, quantised
from eadbench.attacks.fab import FAB
from eadbench.attacks.fgm import FGM
from eadbench.attacks.fmn import FMN
from eadbench.attacks.hopskipjump import HopSkipJump
from eadbench.attacks.ifgm import IFGM
from eadbench.attacks.ifgm_variants import DIFGM, MIFGM, TIFGM
from eadbench.attacks.jsma import JSMA
from eadbench.attacks.pdpgd import PDPGD
from eadbench.attacks.result import Adversarial, AttackResult
from eadbench.attacks.sigma_zero import SigmaZero
from eadbench.attacks.square import Square
from eadbench.attacks.substitute import Substitute
from eadbench.attacks.superdeepfool import SuperDeepFool
from eadbench.attacks.universal import Universal
from eadbench.attacks.zoo import ZOO

ATTACKS: Mapping[str, Callable[..., Attack]] = {
    "cw": CarliniWagner,
    "fgm": FGM,
    "ifgm": IFGM,
    "cov": COV,
    "ead": EAD,
    "ddn": DDN,
    "alma": ALMA,
    "fmn": FMN,
    "pdpgd": PDPGD,
    "sigma_zero": SigmaZero,
    "deepfool": DeepFool,
    "superdeepfool": SuperDeepFool,
    "fab": FAB,
    "apgd": APGD,
    "apgd_l1": APGDL1,
    "jsma": JSMA,
    "mi_fgm": MIFGM,
    "di_fgm": DIFGM,
    "ti_fgm": TIFGM,
    "zoo": ZOO,
    "hopskipjump": HopSkipJump,
    "square": Square,
    "autoattack": AutoAttack,
    "universal": Universal,
    "substitute": Substitute,
}
"""Attacks by their names in a spec. The paper's come first, in the order of its tables."""

__all__ = [
    "ALMA",
    "APGD",
    "APGDL1",
    "ATTACKS",
    "COV",
    "DDN",
    "DIFGM",
    "EAD",
    "FAB",
    "FGM",
    "FMN",
    "IFGM",
    "JSMA",
    "MIFGM",
    "PDPGD",
    "TIFGM",
    "ZOO",
    "Adversarial",
    "Attack",
    "AttackResult",
    "AutoAttack",
    "Budgeted",
    "BudgetedCarliniWagner",
    "BudgetedEAD",
    "CarliniWagner",
    "DeepFool",
    "HopSkipJump",
    "Probe",
    "Quantised",
    "SigmaZero",
    "Square",
    "Substitute",
    "SuperDeepFool",
    "Traits",
    "Universal",
    "breaches",
    "confirmed",
    "figures_of",
    "frozen",
    "nearest_levels",
    "probe",
    "quantised",
    "survival",
    "traits_of",
]
