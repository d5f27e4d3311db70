"""EAD and C&W of other libraries at the same settings, each through its public interface."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks.whole_batch import carlini_wagner
from eadbench.attacks import EAD, CarliniWagner
from eadbench.attacks.criterion import margin
from eadbench.attacks.distances import l1, l2
from eadbench.attacks.engine.precision import LowerPrecision

STEPS = 9
BETA = 1e-3

Attack = Callable[[], list[Tensor]]
"""Crafts a batch of examples for every compared decision rule: EN and L1 for EAD, one for C&W."""

Pairs = tuple[nn.Module, Tensor, Tensor]
"""A model, images (N, C, H, W) and target classes (N,)."""

Contenders = Callable[[nn.Module, Tensor, Tensor, int], dict[str, Attack]]
"""Returns the contenders by name for a number of iterations, ours first."""


def compare(
    contenders: Contenders, pairs: Pairs, iterations: int, seconds: Callable[[Attack], float]
) -> Iterator[tuple[str, str, str]]:
    """Run every contender once; yield its seconds, ASR and distances, and its seconds over ours."""
    model, images, targets = pairs
    our_seconds = None
    for name, run in contenders(model, images, targets, iterations).items():
        batches: list[Tensor] = []
        run_seconds = seconds(lambda run=run, batches=batches: batches.extend(run()))  # type: ignore[misc]
        our_seconds = our_seconds or run_seconds
        figures = "; ".join(_figures(model, images, targets, examples) for examples in batches)
        yield f"{name}, {len(images)} pairs, {run_seconds:.0f} s; {figures}", f"{run_seconds / our_seconds:.1f} ×", ""


def _figures(model: nn.Module, images: Tensor, targets: Tensor, examples: Tensor) -> str:
    """Return ASR, mean L1 and mean L2, judged as for our own attacks."""
    with torch.no_grad():
        success = margin(model(examples), targets, targeted=True) > 0
    delta = (examples - images)[success]
    return f"ASR {100 * success.float().mean():.1f} %, L1 {l1(delta).mean():.2f}, L2 {l2(delta).mean():.3f}"


def _ours(model: nn.Module) -> dict[str, nn.Module]:
    """Return the model in every precision of the device; "ours" is float32."""
    lower: tuple[Literal["bf16", "tf32"], ...] = ("bf16", "tf32") if torch.cuda.is_available() else ("bf16",)
    return {"ours": model, **{f"ours, {precision}": LowerPrecision(model, precision) for precision in lower}}


def ead(model: nn.Module, images: Tensor, targets: Tensor, iterations: int) -> dict[str, Attack]:
    """Return EAD by both rules: ours, and foolbox's and torchattacks', with and without their abort."""
    import foolbox
    import torchattacks

    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
    criterion = foolbox.criteria.TargetedMisclassification(targets)

    def by_foolbox(abort: bool) -> list[Tensor]:
        return [
            foolbox.attacks.EADAttack(
                binary_search_steps=STEPS,
                steps=iterations,
                regularization=BETA,
                decision_rule=rule,
                abort_early=abort,
            ).run(bounded, images, criterion)
            for rule in ("EN", "L1")
        ]

    def by_torchattacks(abort: bool) -> list[Tensor]:
        batches = []
        for variant in (torchattacks.EADEN, torchattacks.EADL1):
            attack = variant(model, max_iterations=iterations, binary_search_steps=STEPS, beta=BETA, abort_early=abort)
            attack.set_mode_targeted_by_label(quiet=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                batches.append(attack(images, targets))
        return batches

    ours = {
        f"EAD, {name}": partial(_our_ead, network, images, targets, iterations)
        for name, network in _ours(model).items()
    }
    return {
        **ours,
        "EAD, foolbox, abort": lambda: by_foolbox(True),
        "EAD, foolbox": lambda: by_foolbox(False),
        "EAD, torchattacks, abort": lambda: by_torchattacks(True),
        "EAD, torchattacks": lambda: by_torchattacks(False),
    }


def _our_ead(model: nn.Module, images: Tensor, targets: Tensor, iterations: int) -> list[Tensor]:
    result = EAD(beta=BETA, max_iterations=iterations)(model, images, targets, batch_size=100)
    return [result["en"].images, result["l1"].images]


def art_ead(model: nn.Module, images: Tensor, targets: Tensor, iterations: int) -> dict[str, Attack]:
    """Return EAD by both rules: ours, and ART's, which takes minutes for a few examples."""
    from art.attacks.evasion import ElasticNet
    from art.estimators.classification import PyTorchClassifier

    classes = model(images[:1]).shape[1]
    wrapped = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), input_shape=tuple(images.shape[1:]), nb_classes=classes, clip_values=(0, 1)
    )

    def by_art() -> list[Tensor]:
        settings = {"binary_search_steps": STEPS, "max_iter": iterations, "beta": BETA, "batch_size": len(images)}
        attacks = [
            ElasticNet(wrapped, targeted=True, decision_rule=rule, verbose=False, **settings) for rule in ("EN", "L1")
        ]
        batches = [attack.generate(images.cpu().numpy(), targets.cpu().numpy()) for attack in attacks]
        return [torch.from_numpy(examples).to(images.device) for examples in batches]

    return {"EAD, ours": lambda: _our_ead(model, images, targets, iterations), "EAD, ART": by_art}


def _our_cw(model: nn.Module, images: Tensor, targets: Tensor, iterations: int) -> list[Tensor]:
    return [CarliniWagner(max_iterations=iterations)(model, images, targets, batch_size=100)["l2"].images]


def cw(model: nn.Module, images: Tensor, targets: Tensor, iterations: int) -> dict[str, Attack]:
    """Return C&W: ours, and foolbox's and one that waits for its whole batch, with and without their abort."""
    import foolbox

    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
    criterion = foolbox.criteria.TargetedMisclassification(targets)

    def by_foolbox(abort: bool) -> list[Tensor]:
        attack = foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=STEPS, steps=iterations, stepsize=1e-2, initial_const=1e-3, abort_early=abort
        )
        return [attack.run(bounded, images, criterion)]

    def in_whole_batches(abort: bool) -> list[Tensor]:
        return [carlini_wagner(model, images, targets, steps=STEPS, iterations=iterations, abort=abort)]

    ours = {
        f"C&W, {name}": partial(_our_cw, network, images, targets, iterations) for name, network in _ours(model).items()
    }
    return {
        **ours,
        "C&W, foolbox, abort": lambda: by_foolbox(True),
        "C&W, foolbox": lambda: by_foolbox(False),
        "C&W, in whole batches, abort": lambda: in_whole_batches(True),
        "C&W, in whole batches": lambda: in_whole_batches(False),
    }
