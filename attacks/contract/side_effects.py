"""Checks that an attack leaves its caller's images, labels and model as they were."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from eadbench.attacks.contract.subject import Subject, require
from eadbench.attacks.contract.victims import Watched


def leaves_inputs_untouched(subject: Subject) -> None:
    """The attack does not write to `images` or `labels`, and its result shares no memory with them."""
    for trial in subject.trials:
        images, labels = trial.given
        require(torch.equal(images, trial.images), "the attack writes to the images")
        require(torch.equal(labels, trial.labels), "the attack writes to the labels")
        place = images.untyped_storage().data_ptr()
        apart = all(kept.images.untyped_storage().data_ptr() != place for kept in trial.result.values())
        require(apart, "the result shares memory with the images; return a copy")


def attacks_in_eval_mode(subject: Subject) -> None:
    """The model is in eval mode during the attack: no dropout, and no new statistics of batch normalisation."""
    require(subject.watched.always_in_eval_mode, "the attack runs the model in train mode; call model.eval() first")


def restores_the_model(subject: Subject) -> None:
    """Every module's mode, every parameter's requires_grad, and every weight and statistic are as before."""
    states: list[tuple[str, Callable[[nn.Module], list[Any]]]] = [
        ("modes (train or eval) of some modules", lambda model: [module.training for module in model.modules()]),
        ("requires_grad of some parameters", lambda model: [weight.requires_grad for weight in model.parameters()]),
        ("weights or buffers", lambda model: [value.tolist() for value in model.state_dict().values()]),
        ("hooks", lambda model: [len(module._forward_hooks) for module in model.modules()]),
    ]
    before = Watched()
    for name, state in states:
        require(state(subject.watched) == state(before), f"the attack changes {name} of the model")
    require(torch.is_grad_enabled(), "the attack leaves torch's gradients switched off")


def leaves_parameter_gradients_alone(subject: Subject) -> None:
    """No parameter's `.grad` is set, added to or cleared."""
    for parameter in subject.watched.parameters():
        untouched = parameter.grad is not None and torch.equal(parameter.grad, torch.full_like(parameter, 0.5))
        require(untouched, "the attack changes the gradients of parameters; use torch.autograd.grad(loss, images)")
