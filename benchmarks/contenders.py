"""Attacks under a budget of passes: ours and adv-lib's, by norm. An attack has two passes a step, forward and backward.

adv-lib 0.2.8 imports visdom, whose build needs setuptools below 81; nothing here draws, so an empty module stands in.
adv-lib's settings are those of attackbenchlib, with as many steps as the budget allows.
"""

import math
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from eadbench import attacks

__all__ = ["BUDGET", "NORMS", "OURS", "PEERS", "Contender", "contenders", "counterparts"]

NORMS: Mapping[str, float] = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}

BUDGET = "within the budget"
"""What the name of the setting for a budget ends in."""

Contender = Callable[[nn.Module, Tensor, Tensor, bool], Tensor]
"""Takes a model, images, labels (classes to reach if targeted, else to leave) and whether it is targeted."""


class Ours(NamedTuple):
    """How one of our attacks is built."""

    name: str
    """In a spec."""
    norms: Sequence[str]
    fields: Callable[[str, int], Mapping[str, Any]] = lambda norm, budget: {}
    """Its hyperparameters for a norm and a budget."""


def _stepping(norm: str, budget: int) -> dict[str, Any]:
    return {"norm": norm, "steps": budget // 2}


def _fmn_as_theirs(norm: str, budget: int) -> dict[str, Any]:
    """Project to the sphere in L2, as adv-lib does; our default is the paper's ball."""
    return _stepping(norm, budget) | ({"projection": "sphere"} if norm == "l2" else {})


def _rounds(budget: int) -> dict[str, Any]:
    """Return the length of each of APGD's 20 searches: as many steps as for adv-lib's."""
    return {"steps": min(100, budget // 20)}


OURS: Mapping[str, Ours] = {
    "EAD, paper": Ours("ead", ("l1",)),
    "C&W, paper": Ours("cw", ("l2",)),
    "ALMA": Ours("alma", ("l1", "l2"), _stepping),
    "PDPGD": Ours("pdpgd", tuple(NORMS), _stepping),
    "FMN": Ours("fmn", tuple(NORMS), _fmn_as_theirs),
    "DDN": Ours("ddn", ("l2",), lambda norm, budget: {"steps": budget // 2}),
    "σ-zero": Ours("sigma_zero", ("l0",), lambda norm, budget: {"steps": budget // 2}),
    "APGD": Ours("apgd", ("linf",), lambda norm, budget: {"norm": norm, **_rounds(budget)}),
    "APGD-L1": Ours("apgd_l1", ("l1",), lambda norm, budget: _rounds(budget)),
    "DeepFool": Ours("deepfool", ("l2", "linf"), lambda norm, budget: {"norm": norm}),
    "SuperDeepFool": Ours("superdeepfool", ("l2",)),
}
"""Our attacks by name; those that this version does not have are left out."""


def _ours(norm: str, budget: int, targeted: bool) -> Iterator[tuple[str, Contender]]:
    """Yield our attacks on a budget, and EAD's setting for one; in L2 it has β = 0, and is C&W's too."""
    for title, (name, norms, fields) in OURS.items():
        attack = attacks.ATTACKS.get(name)
        if norm in norms and attack is not None and (attacks.traits_of(attack).targeted or not targeted):
            own = attack(targeted=targeted, **fields(norm, budget))
            yield title, _called(attacks.Budgeted(attack=own, budget=budget), norm)
    if norm in ("l1", "l2"):
        yield f"EAD, {BUDGET}", _called(attacks.EAD.within(budget, norm=norm, targeted=targeted), norm)


def _called(attack: Any, norm: str) -> Contender:
    """Return an attack as attackbenchlib calls it: a function that returns the last images."""

    def run(model: nn.Module, images: Tensor, labels: Tensor, targeted: bool) -> Tensor:
        result = attack(model, images, labels, batch_size=len(images))
        return result[norm if norm in result else next(iter(result))].images

    return run


def _alma(norm: str, budget: int) -> Contender:
    from adv_lib.attacks import alma

    rate = {"l1": 0.5, "l2": 0.1}[norm]
    return _peer(partial(alma, distance=norm, num_steps=budget // 2, init_lr_distance=rate))


def _fmn(norm: str, budget: int) -> Contender:
    from adv_lib.attacks import fmn

    return _peer(partial(fmn, norm=NORMS[norm], steps=budget // 2, α_init=10 if norm == "linf" else 1))


def _pdpgd(norm: str, budget: int) -> Contender:
    from adv_lib.attacks import pdpgd

    operator = {"proximal_operator": 23} if norm == "l0" else {}
    return _peer(partial(pdpgd, norm=NORMS[norm], num_steps=budget // 2, **operator))


def _pdgd(norm: str, budget: int) -> Contender:
    from adv_lib.attacks import pdgd

    return _peer(partial(pdgd, num_steps=budget // 2))


def _ddn(norm: str, budget: int) -> Contender:
    from adv_lib.attacks import ddn

    return _peer(partial(ddn, steps=budget // 2))


def _sigma_zero(norm: str, budget: int) -> Contender:
    from adv_lib.attacks.sigma_zero import sigma_zero

    return _peer(partial(sigma_zero, num_steps=budget // 2))


def _apgd(norm: str, budget: int) -> Contender:
    """Return APGD, minimal by bisection on ε: 20 searches of 100 steps or fewer, as in attackbenchlib."""
    from adv_lib.attacks import apgd
    from attackbench.attacks.adv_lib.wrapper import adv_lib_minimal_wrapper

    attack = partial(
        apgd, norm=NORMS[norm], n_iter=min(100, budget // 20), loss_function="dlr", use_large_reps=norm == "l1"
    )
    first = {"l1": 10.0, "linf": 1 / 255}[norm]
    most = 1.0 if norm == "linf" else None
    return _peer(partial(adv_lib_minimal_wrapper, attack=attack, init_eps=first, max_eps=most))


def _deepfool(norm: str, budget: int) -> Contender:
    from adv_lib.attacks import df

    return _peer(partial(df, norm=NORMS[norm], steps=50))


def _superdeepfool(norm: str, budget: int) -> Contender:
    from adv_lib.attacks import sdf

    return _peer(partial(sdf, df_steps=50))


def _peer(attack: Callable[..., Tensor]) -> Contender:
    def run(model: nn.Module, images: Tensor, labels: Tensor, targeted: bool) -> Tensor:
        return attack(model=model, inputs=images, labels=labels, targeted=targeted)

    return run


PEERS: Mapping[str, Mapping[str, Callable[[str, int], Contender]]] = {
    "adv-lib ALMA": dict.fromkeys(("l1", "l2"), _alma),
    "adv-lib PDPGD": dict.fromkeys(("l0", "l1", "linf"), _pdpgd),
    "adv-lib PDGD": {"l2": _pdgd},
    "adv-lib FMN": dict.fromkeys(NORMS, _fmn),
    "adv-lib DDN": {"l2": _ddn},
    "adv-lib σ-zero": {"l0": _sigma_zero},
    "adv-lib APGD": {"linf": _apgd},
    "adv-lib APGD-L1": {"l1": _apgd},
    "adv-lib DeepFool": dict.fromkeys(("l2", "linf"), _deepfool),
    "adv-lib SuperDeepFool": {"l2": _superdeepfool},
}
"""adv-lib's attacks by name."""
UNTARGETED = ("adv-lib DeepFool", "adv-lib SuperDeepFool")
"""Those whose papers have no targets."""


def contenders(norm: str, budget: int, *, targeted: bool) -> dict[str, Contender]:
    """Return the attacks that minimise a norm, by name; ours first."""
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))
    peers = [name for name in PEERS if norm in PEERS[name] and not (targeted and name in UNTARGETED)]
    return dict(_ours(norm, budget, targeted)) | {name: PEERS[name][norm](norm, budget) for name in peers}


def counterparts(names: list[str]) -> list[tuple[str, str]]:
    """Return our re-implementations, each with adv-lib's attack of the same name."""
    return [(name, f"adv-lib {name}") for name in names if f"adv-lib {name}" in names]
