"""The last test of an attack's candidates."""

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.engine.precision import exact_model
from eadbench.attacks.result import Adversarial


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
    """
    model = exact_model(model)
    parts = zip(torch.split(candidates, batch_size), torch.split(labels, batch_size), strict=True)
    margins = [margin(model(images), part_labels, targeted=targeted) for images, part_labels in parts]
    lead = torch.cat(margins) if margins else originals.new_empty(0)
    success = claimed & succeeds(lead, kappa)
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
