"""Checks of what an attack declares, and of the modes that it supports."""

import torch

from eadbench.attacks.attack import breaches
from eadbench.attacks.contract.subject import NotApplicable, Subject, require


def declares_the_protocol(subject: Subject) -> None:
    """The class declares what :class:`eadbench.attacks.Attack` asks for."""
    problems = breaches(type(subject.attack))
    require(not problems, "; ".join(problems))


def works_in_its_modes(subject: Subject) -> None:
    """Targeted and untargeted, as far as it supports them, the attack breaks images close to a boundary."""
    for trial in subject.solvable:
        if trial.name.startswith("half-space"):
            broken = any(kept.success.any() for kept in trial.result.values())
            require(broken, f"{trial.name}: no success on images that are 0.005 (L∞) from the boundary")


def refuses_other_modes(subject: Subject) -> None:
    """An attack without one of the modes raises a ValueError when it is built in that mode."""
    refused = [mode for mode in (True, False) if mode not in subject.modes]
    if not refused:
        raise NotApplicable("it supports both modes")
    for mode in refused:
        try:
            subject.variant(targeted=mode)
        except ValueError:
            continue
        require(False, f"targeted={mode} is accepted, although the class does not support it; raise a ValueError")


def returns_an_entry_per_rule(subject: Subject) -> None:
    """The result has one entry for each of RULES, or a single one without RULES; each field has one row per image."""
    rules = subject.traits.rules
    for trial in subject.trials:
        keys, count = list(trial.result), len(trial.images)
        if rules:
            require(set(keys) == set(rules), f"{trial.name}: the result has entries {keys}, RULES are {list(rules)}")
        else:
            require(len(keys) == 1, f"{trial.name}: the result has entries {keys}; without RULES there must be one")
        for name, kept in trial.entries():
            shapes = {field: tuple(values.shape) for field, values in vars(kept).items() if values is not None}
            right = dict.fromkeys(shapes, (count,)) | {"images": tuple(trial.images.shape)}
            wrong = [f"{field} {shape}" for field, shape in shapes.items() if shape != right[field]]
            require(not wrong, f"{name}: wrong shapes for {count} images: {', '.join(wrong)}")
            dtype = kept.images.dtype
            require(dtype == trial.images.dtype, f"{name}: images are {dtype}, not {trial.images.dtype}")
            require(kept.success.dtype == torch.bool, f"{name}: success is {kept.success.dtype}, not torch.bool")
            require(not kept.images.requires_grad, f"{name}: images ask for gradients; detach them")


def accepts_an_empty_batch(subject: Subject) -> None:
    """No images give a result of no rows."""
    trial = subject.trials[0]
    empty = subject.run("no images", trial.victim, trial.images[:0], trial.labels[:0], targeted=trial.targeted)
    require(set(empty.result) == set(trial.result), f"{empty.name}: the result has entries {list(empty.result)}")
    for name, kept in empty.entries():
        shape = tuple(kept.images.shape)
        require(shape == (0, *trial.images.shape[1:]) and not len(kept.success), f"{name}: images have shape {shape}")
    require(not len(empty.result.iterations), f"{empty.name}: iterations are not empty")
