"""Optimizers and schedules of the learning rate."""

import math
from collections.abc import Callable

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR, StepLR

from eadbench.models.hyperparameters import Training

__all__ = ["optimizer_of", "schedule_of", "warm_up_and_decay"]

WARM_UP = 0.1
"""Share of the steps over which the learning rate of "warm_up_cosine" rises to its peak."""


def optimizer_of(model: nn.Module, training: Training) -> Optimizer:
    """Return the optimizer of a training."""
    if training.optimizer == "adam":
        return AdamW(model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    return SGD(
        model.parameters(),
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=training.nesterov and training.momentum > 0,
    )


def schedule_of(optimizer: Optimizer, training: Training, steps_per_epoch: int) -> LRScheduler:
    """Return the schedule of a training's learning rate; call its `step` after each step of the optimizer."""
    steps = training.epochs * steps_per_epoch
    match training.schedule:
        case "warm_up_cosine":
            return LambdaLR(optimizer, warm_up_and_decay(steps))
        case "cosine":
            return CosineAnnealingLR(optimizer, steps)
        case "onecycle":  # the momentum stays that of the recipe
            return OneCycleLR(optimizer, training.learning_rate, total_steps=steps, cycle_momentum=False)
        case "step":
            assert training.step_epochs is not None and training.step_factor is not None  # Training checks it
            return StepLR(optimizer, training.step_epochs * steps_per_epoch, gamma=training.step_factor)
        case "constant":
            return ConstantLR(optimizer, factor=1.0)


def warm_up_and_decay(steps: int) -> Callable[[int], float]:
    """Return the learning rate's factor by step: a linear rise over the warm-up, times half a cosine down to 0."""
    rise = max(1, round(WARM_UP * steps))

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * step / steps))

    return factor
