"""Checks against numbers known beforehand: least distances in closed form, and passes counted by the victim."""

import torch

from eadbench.attacks.budgeted import Budgeted
from eadbench.attacks.contract.subject import NotApplicable, Subject, require
from eadbench.attacks.contract.victims import Counting, half_space, labels_to_attack, small_images, small_net

BUDGET = 40
"""Passes, of an attack on a budget."""
FIRST_LOOK = 1
"""Forward passes for which no example need answer: an attack may look at the shape of the logits."""


def half_space_distances_are_near_the_least(subject: Subject) -> None:
    """On a half-space, the distance by each of NORMS is the least possible one, within TOLERANCE.

    The least is |f(x₀)| / ‖w‖∞ in L1, |f(x₀)| / ‖w‖₂ in L2 and |f(x₀)| / ‖w‖₁ in L∞. In L0 it is the least number of
    values whose greatest gains are enough.
    """
    if not subject.norms:
        raise NotApplicable("it declares no NORMS")
    mode = subject.modes[0]
    for norm in subject.norms:
        model, images, least = half_space(norm, subject.kappa)
        labels = torch.full((len(images),), int(mode))  # targeted: class 1; untargeted: away from class 0
        trial = subject.run("half-space", model, images, labels, targeted=mode)
        rule = norm if norm in trial.result else next(iter(trial.result))
        kept, name = trial.result[rule], f"{trial.name}, rule {rule}"
        require(kept.success.all(), f"{name}: failures")
        excess = getattr(kept, norm) / least - 1
        greatest, tolerance = excess.max().item(), subject.traits.tolerance[norm]
        require(excess.min() >= -1e-3, f"{name}: {norm} is below the least possible distance")
        allowed = f"TOLERANCE allows {tolerance:.1%}"
        require(greatest <= tolerance, f"{name}: {norm} is {greatest:.1%} above the least possible; {allowed}")


def counts_its_passes(subject: Subject) -> None:
    """`iterations` and `forward_passes` are the passes that the victim sees.

    Each example runs alone. One forward pass is free: to look at the shape of the logits. Rows that only fill up a
    batch do not count as the example's; `computed` includes their gradients.
    """
    for victim, trial in subject.counted:
        result = trial.result
        gradients, forwards = int(result.iterations[0]), int(result.forward_passes[0])
        idle = max(0, int(result.computed) - gradients)
        counts = f"reports {gradients} gradients and {forwards} forward passes"
        seen = f"the victim saw {victim.backwards} and {victim.forwards}"
        right = 0 <= victim.backwards - gradients <= idle and 0 <= victim.forwards - forwards <= FIRST_LOOK + 2 * idle
        require(right, f"{trial.name}: {counts}; {seen}")


def stays_within_most_passes(subject: Subject) -> None:
    """`most_passes` is an integer that `iterations` + `forward_passes` of no example exceed."""
    for _, trial in subject.counted:
        most = subject.attack.most_passes
        require(isinstance(most, int) and not isinstance(most, bool), f"most_passes is {most!r}, not an integer")
        passes = int(trial.result.iterations[0] + trial.result.forward_passes[0])
        require(passes <= most, f"{trial.name}: {passes} passes; most_passes is {most}")


def stays_within_a_budget(subject: Subject) -> None:
    """On a budget of passes, the victim sees no more of them, but for a first look and the last tests.

    The result counts what the victim sees.
    """
    mode, images = subject.modes[0], small_images(2)
    labels = labels_to_attack(small_net(), images, targeted=mode)
    attack = Budgeted(attack=subject.variant(targeted=mode), budget=BUDGET)
    attack = subject.ready(attack, small_net(), images)
    for row in range(len(images)):
        victim, one = Counting(small_net()), slice(row, row + 1)
        result = attack(victim, images[one], labels[one], batch_size=1)
        counted, seen = int(result.iterations + result.forward_passes), victim.forwards + victim.backwards
        name = f"image {row} of the small net, on a budget of {BUDGET}"
        require(counted <= BUDGET, f"{name}: spends {counted} passes")
        free = FIRST_LOOK + 2 * len(result)
        require(counted <= seen <= counted + free, f"{name}: reports {counted} passes; the victim saw {seen}")
