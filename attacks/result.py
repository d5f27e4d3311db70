"""What an attack returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.criterion import margin, succeeds


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """The examples that one decision rule keeps; N rows, in the order of the images that were attacked.

    Attributes
    ----------
    images : Tensor
        (N, C, H, W) in [0, 1]; where the attack failed, the original image.
    success : Tensor
        (N,) bool: `images` tested once more, as stored.
    l0, l1, l2, linf : Tensor
        (N,) distances to the originals; NaN where the attack failed.
    margin : Tensor
        (N,) lead of the wanted class in that test; NaN where the attack failed.
    const, epsilon : Tensor
        (N,) the weight c, or the step size ε, at which the example was found; NaN where the attack failed or has
        no such parameter.
    unconfirmed : Tensor
        (N,) bool: the search had found an example, which failed that test and so is a failure.
    """

    images: Tensor
    success: Tensor
    l0: Tensor
    l1: Tensor
    l2: Tensor
    linf: Tensor
    margin: Tensor
    const: Tensor
    epsilon: Tensor
    unconfirmed: Tensor


@dataclass(frozen=True, kw_only=True)
class AttackResult(Mapping[str, Adversarial]):
    """Decision rule ("en", "l1", "l2") or norm ("l1", "l2", "linf") to its adversarial examples.

    Attributes
    ----------
    iterations : Tensor
        (N,) gradient evaluations (backward passes) that each example needed.
    forward_passes : Tensor
        (N,) forward passes that each example needed, its tests at the end included.
    computed : int
        Gradient evaluations of the whole batch, rows that only filled it up included.
    """

    kept: Mapping[str, Adversarial]
    iterations: Tensor
    forward_passes: Tensor
    computed: int

    def __getitem__(self, rule: str) -> Adversarial:
        return self.kept[rule]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)


@torch.no_grad()
def confirmed(
    model: nn.Module,
    originals: Tensor,
    labels: Tensor,
    found: Tensor,
    candidates: Tensor,
    *,
    kappa: Tensor,
    targeted: bool,
    batch_size: int,
    const: Tensor | None = None,
    epsilon: Tensor | None = None,
) -> Adversarial:
    """Test the stored `candidates` (N, C, H, W) once more and measure those that pass.

    What was `found` (N,) but fails here is reported as failed: a number that is published must hold for the image
    that is published with it.
    """
    leads = [
        margin(model(part), part_labels, targeted=targeted)
        for part, part_labels in zip(torch.split(candidates, batch_size), torch.split(labels, batch_size), strict=True)
    ]
    lead = torch.cat(leads) if leads else originals.new_empty(0)
    success = found & succeeds(lead, kappa)
    images = torch.where(success[:, None, None, None], candidates, originals)
    delta = images - originals

    def where_found(values: Tensor | None) -> Tensor:
        return torch.full_like(lead, torch.nan) if values is None else values.masked_fill(~success, torch.nan)

    return Adversarial(
        images=images,
        success=success,
        l0=where_found(distances.l0(delta)),
        l1=where_found(distances.l1(delta)),
        l2=where_found(distances.l2(delta)),
        linf=where_found(distances.linf(delta)),
        margin=where_found(lead),
        const=where_found(const),
        epsilon=where_found(epsilon),
        unconfirmed=found & ~success,
    )
