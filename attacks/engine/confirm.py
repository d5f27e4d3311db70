"""The last test of an attack's candidates."""

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.precision import exact_model
from eadbench.attacks.engine.probe import differ
from eadbench.attacks.guarded import Guarded
from eadbench.attacks.result import Adversarial

DRAWN = 8
"""Successes on which a model is tested for randomness."""


@torch.no_grad()
def survival(
    model: nn.Module,
    kept: Adversarial,
    labels: Tensor,
    *,
    kappa: Tensor,
    targeted: bool,
    times: int,
    batch_size: int,
) -> Tensor | None:
    """Test the successes of a random model `times` more, each time on a fresh draw of its noise.

    Parameters
    ----------
    model : nn.Module
        Images to logits.
    kept, labels, kappa, targeted
        What an attack returned, and what it was given.
    times : int
        Tests of each success.

    Returns
    -------
    Tensor or None
        (N,) the share of the tests that each success passes, NaN for a failure; None if the model is not random: two
        passes of the same images give the same logits.
    """
    images, labels, margins = kept.images[kept.success], labels[kept.success], kappa[kept.success]
    with frozen(model):
        if not times or not len(images) or not differ(*(model(images[:DRAWN].clone()) for _ in range(2))):
            return None
        passed = torch.zeros_like(margins)
        for _ in range(times):
            parts = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
            leads = torch.cat([margin(model(part.clone()), own, targeted=targeted) for part, own in parts])
            passed += succeeds(leads, margins)
    return torch.full_like(kappa, torch.nan).masked_scatter(kept.success, passed / times)


@torch.no_grad()
def confirmed(
    model: nn.Module,
    originals: Tensor,
    labels: Tensor,
    claimed: Tensor,
    candidates: Tensor,
    *,
    kappa: Tensor,
    targeted: bool,
    batch_size: int,
    const: Tensor | None = None,
    epsilon: Tensor | None = None,
    guard: Guarded | None = None,
) -> Adversarial:
    """Test the stored `candidates` once more, and measure those that succeed.

    A claim that fails here is a failure: a published number must hold for the image that is published with it.

    Parameters
    ----------
    model : nn.Module
        Images to logits; a model in lower precision is run in its own.
    originals, candidates : Tensor
        (N, C, H, W) in [0, 1].
    labels : Tensor
        (N,) target classes if `targeted`, else true classes.
    claimed : Tensor
        (N,) bool: whether the attack claims that the candidate succeeds.
    kappa : Tensor
        (N,) the margin of a success.
    const, epsilon : Tensor, optional
        (N,) to be reported with the successes.
    guard : Guarded, optional
        The detector that a success must pass too.
    """
    model = exact_model(model)
    parts = zip(torch.split(candidates, batch_size), torch.split(labels, batch_size), strict=True)
    margins = [margin(model(images), part_labels, targeted=targeted) for images, part_labels in parts]
    lead = torch.cat(margins) if margins else originals.new_empty(0)
    success = claimed & succeeds(lead, kappa)
    if guard is not None and len(candidates):
        success &= torch.cat([guard.penalty(part) <= 0 for part in torch.split(candidates, batch_size)])
    images = torch.where(success[:, None, None, None], candidates, originals)
    delta = images - originals

    def if_success(values: Tensor | None) -> Tensor:
        return torch.full_like(lead, torch.nan) if values is None else values.masked_fill(~success, torch.nan)

    return Adversarial(
        images=images,
        success=success,
        l0=if_success(distances.l0(delta)),
        l1=if_success(distances.l1(delta)),
        l2=if_success(distances.l2(delta)),
        linf=if_success(distances.linf(delta)),
        margin=if_success(lead),
        const=if_success(const),
        epsilon=if_success(epsilon),
        unconfirmed=claimed & ~success,
    )
