"""Checks that a row depends on its own example alone, and that rows without a solution fail quietly."""

import warnings
from typing import get_args, get_type_hints

import torch
from torch import Tensor

from eadbench.attacks.attack import BATCH_SIZE
from eadbench.attacks.contract.subject import NotApplicable, Subject, Trial, require
from eadbench.attacks.contract.victims import Poisoned, half_space, labels_to_attack, small_images, small_net
from eadbench.attacks.criterion import margin

CLOSE = {torch.float64: 1e-5, torch.float32: 0.05}
"""Relative difference of distances between two runs whose rounding differs; an iteration amplifies rounding."""


def rows_do_not_depend_on_the_batch(subject: Subject) -> None:
    """attack(cat(a, b)) equals cat(attack(a), attack(b)), whatever the batch size, up to rounding."""
    mode = subject.modes[0]
    plane, plane_images, _ = half_space("linf", subject.kappa, distance=0.005)
    for name, model, images, cut, batch_size in (
        ("small net", small_net(), small_images(), 3, BATCH_SIZE),
        ("half-space", plane, plane_images, 0, 3),
    ):
        labels = labels_to_attack(model, images, targeted=mode)
        model, images = model.to(subject.dtype), images.to(subject.dtype)
        whole = subject.run(name, model, images, labels, targeted=mode)
        parts = [
            subject.run(name, model, images[rows], labels[rows], targeted=mode, batch_size=batch_size)
            for rows in (slice(0, cut), slice(cut, None))
            if len(images[rows])
        ]
        _require_same(whole, parts, f"images {cut}.. in a call of their own" if cut else f"batch_size={batch_size}")


def beta_and_kappa_may_differ_by_row(subject: Subject) -> None:
    """Fields `beta` and `kappa` that may be a tensor take one of (N,): each row is attacked with its own value."""
    types = get_type_hints(type(subject.attack))
    names = [name for name in ("beta", "kappa") if Tensor in get_args(types.get(name))]
    if not names:
        raise NotApplicable("it has no field beta or kappa that may be a tensor")
    model, images, mode = small_net(), small_images(2), subject.modes[0]
    labels = labels_to_attack(model, images, targeted=mode)
    model, images = model.to(subject.dtype), images.to(subject.dtype)
    values = {
        name: float(getattr(subject.attack, name)) + step * torch.tensor([0.0, 1.0])
        for name, step in (("beta", 1e-3), ("kappa", 0.05))
        if name in names
    }
    together = Subject(subject.variant(**values)).run("mixed rows", model, images, labels, targeted=mode)
    alone = [
        Subject(subject.variant(**{name: value[row].item() for name, value in values.items()})).run(
            "row", model, images[row : row + 1], labels[row : row + 1], targeted=mode
        )
        for row in range(len(images))
    ]
    _require_same(together, alone, f"each row alone with its own {' and '.join(names)}")


def repeats_itself(subject: Subject) -> None:
    """The same call gives the same result, whatever torch's global random state."""
    first = subject.trials[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        second = subject.run("again", first.victim, first.images, first.labels, targeted=first.targeted)
    for rule, kept in first.result.items():
        other = second.result[rule]
        same = torch.equal(kept.success, other.success) and torch.equal(kept.images, other.images)
        require(
            same,
            f"{first.name}, rule {rule}: equal calls give different images; draw from a generator with a fixed seed",
        )


def nan_logits_give_failed_rows(subject: Subject) -> None:
    """An image whose logits are NaN gives a failed row with a finite image, and leaves its neighbours alone."""
    images = small_images()
    images[2, 0, 0, 0] = 1  # the mark of a poisoned image
    model, neighbours = Poisoned(small_net(), "nan"), [0, 1, 3, 4, 5, 6, 7]
    mode = subject.modes[0]
    labels = labels_to_attack(small_net(), images, targeted=mode)
    trial = subject.run("NaN logits in row 2", model, images, labels, targeted=mode)
    healthy = subject.run("neighbours", model, images[neighbours], labels[neighbours], targeted=mode)
    for rule, kept in trial.result.items():
        name = f"{trial.name}, rule {rule}"
        require(not kept.success[2], f"{name}: row 2 is a success")
        require(kept.images.isfinite().all(), f"{name}: images are not finite")
        same = torch.equal(kept.success[neighbours], healthy.result[rule].success)
        require(same, f"{name}: other rows succeed or fail otherwise than without row 2")


def zero_gradients_give_failed_rows(subject: Subject) -> None:
    """A model whose gradient is zero everywhere gives failed rows with finite images."""
    for trial in subject.hopeless:
        for name, kept in trial.entries():
            require(not kept.success.any(), f"{name}: a success where no image can succeed")
            require(kept.images.isfinite().all(), f"{name}: images are not finite")


def solved_images_are_successes(subject: Subject) -> None:
    """An image that needs no change, since the model already gives it the wanted class, is a success."""
    model, images = small_net(), small_images()
    with torch.no_grad():
        logits = model(images)
    labels = logits.sum(0).argmax().expand(len(images))  # one class for all rows
    solved = {mode: margin(logits, labels, targeted=mode) > 1.5 * subject.kappa + 0.05 for mode in subject.modes}
    modes = [mode for mode, rows in solved.items() if rows.any()]
    if not modes:
        raise NotApplicable(f"no image has a margin of {subject.kappa:g} without an attack")
    for mode in modes:
        rows = solved[mode]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* its target class already")
            trial = subject.run("solved images", model, images[rows], labels[rows], targeted=mode)
        for name, kept in trial.entries():
            require(kept.success.all(), f"{name}: failures on images that succeed without any change")


def _require_same(whole: Trial, parts: list[Trial], how: str) -> None:
    """Require that the rows of `whole` are those of `parts`, one after the other."""
    for rule, kept in whole.result.items():
        name = f"{whole.name}, rule {rule}"
        success = torch.cat([part.result[rule].success for part in parts])
        require(torch.equal(kept.success, success), f"{name}: other successes with {how}")
        for norm in ("l1", "l2", "linf"):
            values = torch.cat([getattr(part.result[rule], norm) for part in parts])
            require(_close(getattr(kept, norm), values), f"{name}: other {norm} distances with {how}")
    for count in ("iterations", "forward_passes"):
        values = torch.cat([getattr(part.result, count) for part in parts])
        require(torch.equal(getattr(whole.result, count), values), f"{whole.name}: other {count} with {how}")


def _close(values: Tensor, others: Tensor) -> bool:
    return torch.allclose(values, others, rtol=CLOSE[values.dtype], atol=1e-6, equal_nan=True)
