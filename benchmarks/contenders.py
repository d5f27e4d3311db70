"""Attacks under a budget of passes: ours and adv-lib's, by norm. An attack has two passes a step, forward and backward.

adv-lib 0.2.8 imports visdom, whose build needs setuptools below 81; nothing here draws, so an empty module stands in.
adv-lib's settings are those of attackbenchlib, with as many steps as the budget allows.
"""

import math
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from eadbench import attacks

__all__ = ["NORMS", "OURS", "PEERS", "Contender", "contenders", "counterparts"]

NORMS: Mapping[str, float] = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}

Contender = Callable[[nn.Module, Tensor, Tensor, bool], Tensor]
"""Takes a model, images, labels (classes to reach if targeted, else to leave) and whether it is targeted."""


def _ours(build: Callable[..., Any], norm: str, budget: int) -> Contender:
    """Return one of our attacks, as attackbenchlib calls it: a function that returns the last images."""

    def run(model: nn.Module, images: Tensor, labels: Tensor, targeted: bool) -> Tensor:
        attack = build(targeted=targeted)
        if hasattr(attacks, "Budgeted"):  # ends an attack that would go on without passes
            attack = attacks.Budgeted(attack=attack, budget=budget)
        result = attack(model, images, labels, batch_size=len(images))
        return result[norm if norm in result else next(iter(result))].images

    return run


def _steps(attack: Any, norms: Iterable[str], *, named: bool = True) -> Mapping[str, Callable[[str, int], Contender]]:
    """Return how an attack with a number of steps is built, by norm; `named` if the norm is one of its fields."""

    def build(norm: str, budget: int) -> Contender:
        fields = {"norm": norm} if named else {}
        return _ours(partial(attack, steps=budget // 2, **fields), norm, budget)

    return dict.fromkeys(norms, build)


OURS: Mapping[str, Mapping[str, Callable[[str, int], Contender]]] = {
    "EAD, paper": {"l1": lambda norm, budget: _ours(attacks.EAD, norm, budget)},
    "C&W, paper": {"l2": lambda norm, budget: _ours(attacks.CarliniWagner, norm, budget)},
    "ALMA": _steps(attacks.ALMA, ("l1", "l2")),
    "PDPGD": _steps(attacks.PDPGD, NORMS),
    "FMN": _steps(attacks.FMN, NORMS),
    "DDN": _steps(attacks.DDN, ("l2",), named=False),
    "σ-zero": _steps(attacks.SigmaZero, ("l0",), named=False),
}
"""Our attacks by name, and how each is built for a norm and a budget."""


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
    "adv-lib APGD": dict.fromkeys(("l1", "linf"), _apgd),
}
"""adv-lib's attacks by name."""


def contenders(norm: str, budget: int) -> dict[str, Contender]:
    """Return the attacks that minimise a norm, by name; ours first."""
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))
    found = {name: builders[norm](norm, budget) for name, builders in OURS.items() if norm in builders}
    found |= dict(_budgeted(norm, budget))
    return found | {name: builders[norm](norm, budget) for name, builders in PEERS.items() if norm in builders}


def _budgeted(norm: str, budget: int) -> Iterator[tuple[str, Contender]]:
    """Yield the settings of EAD and C&W for a budget."""
    for name, attack, norms in (("EAD", attacks.EAD, ("l1", "l2")), ("C&W", attacks.CarliniWagner, ("l2",))):
        if norm in norms and hasattr(attack, "within"):
            yield f"{name}, within the budget", _ours(partial(attack.within, budget, norm), norm, budget)


def counterparts(names: list[str]) -> list[tuple[str, str]]:
    """Return our re-implementations, each with adv-lib's attack of the same name."""
    return [(name, f"adv-lib {name}") for name in names if f"adv-lib {name}" in names]
