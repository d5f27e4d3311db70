"""Checks that every reported row is true: images, successes, distances and failures."""

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.contract.subject import NotApplicable, Subject, Trial, require
from eadbench.attacks.criterion import margin
from eadbench.attacks.result import Adversarial

ROUNDING = 1e-4
"""Relative difference between two float32 computations of the same number."""


def stays_in_the_box(subject: Subject) -> None:
    """Every returned image is finite and in [0, 1], exactly."""
    for trial in subject.trials:
        for name, kept in trial.entries():
            require(kept.images.isfinite().all(), f"{name}: images are not finite in rows {_rows(~_finite(kept))}")
            low, high = kept.images.amin().item(), kept.images.amax().item()
            require(low >= 0 and high <= 1, f"{name}: images lie in [{low:.4g}, {high:.4g}], not in [0, 1]")


def failed_rows_carry_nothing(subject: Subject) -> None:
    """A failed row has success False, the original image, and NaN distances, margin, c and ε."""
    for trial in subject.trials:
        for name, kept in trial.entries():
            failed = ~kept.success
            changed = failed & (kept.images != trial.images).flatten(1).any(1)
            require(not changed.any(), f"{name}: failed rows {_rows(changed)} do not carry the original image")
            for figure in ("l0", "l1", "l2", "linf", "margin", "const", "epsilon"):
                given = failed & ~getattr(kept, figure).isnan()
                require(not given.any(), f"{name}: failed rows {_rows(given)} have a value of {figure}, not NaN")


def successes_hold(subject: Subject) -> None:
    """Every success succeeds again in a separate float32 pass, alone, with the margin κ; that margin is reported."""
    for trial in subject.trials:
        _require_successes(trial, subject.kappa)


def kappa_is_the_least_margin(subject: Subject) -> None:
    """With a field `kappa`, successes lead by a positive κ too."""
    if not hasattr(subject.attack, "kappa"):
        raise NotApplicable("it has no field kappa")
    stricter = Subject(subject.variant(kappa=subject.kappa + 1.0))
    for trial in stricter.solvable:
        _require_successes(trial, stricter.kappa)


def distances_are_the_images(subject: Subject) -> None:
    """The reported L0, L1, L2 and L∞ of a success are those between its image and the original."""
    measures = distances.NORMS
    for trial in subject.trials:
        for name, kept in trial.entries():
            delta = kept.images - trial.images
            for figure, measure in measures.items():
                reported, measured = getattr(kept, figure), measure(delta)
                rounding = 0 if figure == "l0" else ROUNDING * measured + 1e-7
                wrong = kept.success & ~((reported - measured).abs() <= rounding)
                if wrong.any():
                    row = _rows(wrong)[0]
                    values = f"{reported[row]:.4g}; its image is {measured[row]:.4g} from the original"
                    require(False, f"{name}: row {row} reports {figure} {values}")


def _require_successes(trial: Trial, kappa: float) -> None:
    """Require that every success of a run leads by κ, and that its margin is the reported one."""
    wanted = max(kappa, 0.0)
    for name, kept in trial.entries():
        for row in kept.success.nonzero().flatten().tolist():
            measured, rounding = _margin_alone(trial, kept.images, row)
            holds = measured > -rounding and measured >= wanted - rounding
            require(holds, f"{name}: row {row} is a success, but its margin is {measured:.4g}, below {wanted:.4g}")
            reported = kept.margin[row].item()
            close = abs(reported - measured) <= rounding
            require(close, f"{name}: row {row} reports the margin {reported:.4g}; it is {measured:.4g}")


def _margin_alone(trial: Trial, images: Tensor, row: int) -> tuple[float, float]:
    """The margin of one image in a batch of its own, and its rounding error."""
    with torch.no_grad():
        logits = trial.victim.eval()(images[row : row + 1].float())
    rounding = ROUNDING * max(1.0, logits.abs().max().item())
    return margin(logits, trial.labels[row : row + 1], targeted=trial.targeted).item(), rounding


def _finite(kept: Adversarial) -> Tensor:
    return kept.images.flatten(1).isfinite().all(1)


def _rows(where: Tensor) -> list[int]:
    rows: list[int] = where.nonzero().flatten().tolist()
    return rows
