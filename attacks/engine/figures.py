"""What a few images tell of a model in numbers, for judging whether attacks on it can be trusted.

Shape letters: N images, K classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.probe import seem_probabilities

__all__ = ["figures_of"]

STEPS = (0.03, 0.1, 0.3)
"""How far from an image, in L∞, the gradient is looked at again."""
NORMAL = 87.3
"""The lead of a logit beyond which float32's softmax has no normal number for the other classes: 126 log 2."""
ALONE = 4
"""Images that are run alone too."""
_AT_ONCE = 8


@torch.no_grad()
def figures_of(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Measure a model on some images (N, C, H, W) in [0, 1], on its device. It is left as it was.

    Returns
    -------
    dict with

    - `training`: share of the modules that stay in training mode when the model is put into eval mode
    - `noise`: the greatest difference of two runs' logits, relative to the greatest logit
    - `batch`: the same of an image's logits alone and in a batch; left out if the model is random
    - `probabilities`: 1 if the logits are not negative and sum to 1, else 0
    - `greatest_lead`: the greatest lead of a logit over the next
    - `saturated`: share of the images whose lead exceeds :data:`NORMAL`
    - `zero_gradient`, `zero_gradient_cross_entropy`: share of the images at which the gradient of the lead, or of the
      cross-entropy in float32, is zero everywhere
    - `zero_gradient_near`: share of the images at which the lead has a gradient, but none after a step against it
    - `nonfinite_gradient`: share of the images at which a derivative is not finite
    """
    with frozen(model):
        modules = list(model.modules())
        training = sum(module.training for module in modules) / len(modules)
        logits, again = (_logits(model, images) for _ in range(2))
        scale = logits.abs().max().item() + 1e-6
        noise = (again - logits).abs().max().item() / scale
        found = {"training": training, "noise": noise}
        if noise < 1e-6:
            alone = torch.cat([_logits(model, images[i : i + 1]) for i in range(min(ALONE, len(images)))])
            found["batch"] = (alone - logits[: len(alone)]).abs().max().item() / scale
        leads = logits.topk(2, dim=1).values
        leads = leads[:, 0] - leads[:, 1]
        return {
            **found,
            "probabilities": float(seem_probabilities(logits)),
            "greatest_lead": leads.max().item(),
            "saturated": _share(leads > NORMAL),
            **_gradient_figures(model, images),
        }


def _gradient_figures(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Return the figures of gradients."""
    zero, broken, entropy, near = [], [], [], []
    for part in torch.split(images, _AT_ONCE):
        gradient = _gradient(model, part, cross_entropy=False)
        zero.append(_is_zero(gradient))
        broken.append(~gradient.isfinite().flatten(1).all(1))
        entropy.append(_is_zero(_gradient(model, part, cross_entropy=True)))
        steps = ((part - size * gradient.sign().nan_to_num()).clamp(0, 1) for size in STEPS)
        vanished = [_is_zero(_gradient(model, step, cross_entropy=False)) for step in steps]
        near.append(torch.stack(vanished).any(0) & ~zero[-1])
    shares = {
        "zero_gradient": zero,
        "zero_gradient_cross_entropy": entropy,
        "zero_gradient_near": near,
        "nonfinite_gradient": broken,
    }
    return {name: _share(torch.cat(marks)) for name, marks in shares.items()}


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = model(images.clone()).double()
    return logits


def _gradient(model: nn.Module, images: Tensor, *, cross_entropy: bool) -> Tensor:
    """Return the gradient (N, C, H, W) of the lead of each image's class over the next, or of its cross-entropy."""
    with torch.enable_grad():
        x = images.clone().requires_grad_()
        logits = model(x.clone())
        first = logits.argmax(1)
        if cross_entropy:
            loss = functional.cross_entropy(logits.float(), first, reduction="sum")
        else:
            own, other = logits.double().topk(2, dim=1).values.unbind(1)
            loss = (own - other).sum()
        (gradient,) = torch.autograd.grad(loss, x)
    return gradient


def _is_zero(gradient: Tensor) -> Tensor:
    return (gradient == 0).flatten(1).all(1)


def _share(marks: Tensor) -> float:
    return marks.double().mean().item()
