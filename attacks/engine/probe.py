"""Look at a model on a few images before it is attacked: what makes an attack impossible, and what makes it doubtful.

Attacks fool no model that is broken or hides its gradient, so such a model would look robust. Shape letters: N images,
K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.frozen import frozen

__all__ = ["Probe", "differ", "output_breach", "probe", "seem_probabilities"]

ROUNDING = 1e-3
"""Logits that differ by less than this, relative to the largest, are equal but for rounding."""
INSIDE = 1e-3
"""How far inside the box the gradient is compared with that at the border."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a model does that an attack cannot work with, and what is suspicious; each text has cause and remedy."""

    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@torch.no_grad()
def probe(model: nn.Module, images: Tensor, *, classes: int | None = None) -> Probe:
    """Run a model in eval mode on a few images, and compare what it returns with what attacks need.

    The model is left as it was: mode, parameters, gradients.

    Parameters
    ----------
    model
        Maps images to logits (N, K).
    images : Tensor
        (N, C, H, W) in [0, 1], on the model's device; a few real ones.
    classes
        K, if the data set gives it.
    """
    with frozen(model):
        try:
            return _probed(model, images, classes)
        except Unfit as error:
            return Probe(refusals=(str(error),))


class Unfit(Exception):
    """The model cannot be attacked; the message says why."""


def _probed(model: nn.Module, images: Tensor, classes: int | None) -> Probe:
    """Probe a frozen model; raise Unfit if attacks cannot work with it."""
    shown = images.clone()
    logits = _logits(model, shown)
    if classes is not None and logits.shape[1] != classes:
        remedy = "give class_map" if logits.shape[1] > classes else "give a network with a logit for each class"
        raise Unfit(f"it returns {logits.shape[1]} logits for {classes} classes; {remedy}")
    if not torch.equal(shown, images):
        raise Unfit("it writes to its input; normalise with (x - mean) / std instead of in place")
    if not logits.isfinite().all():
        rows = int((~logits.isfinite().all(1)).sum())
        raise Unfit(f"its logits are not finite on {rows} of {len(images)} images; check its weights")
    again = _logits(model, images.clone())
    if differ(again, logits):
        noise = (again - logits).abs().max().item()
        text = f"it is random: its logits for one image differ by up to {noise:.3g}; a success may not last"
        return Probe(warnings=(text, *_gradient_warnings(model, images), *_probability_warnings(logits)))
    alone = torch.cat([_logits(model, images[i : i + 1].clone()) for i in range(len(images))])
    if differ(alone, logits):
        cause = "it gives an image other logits alone than in a batch"
        raise Unfit(f"{cause}; give its batch normalisation running statistics")
    return Probe(warnings=(*_probability_warnings(logits), *_gradient_warnings(model, images, logits)))


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits (N, K) of images, float64; raise Unfit if the model does not take them, or returns others."""
    try:
        logits = model(images)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the model is the user's, and may raise anything
        count = "one image alone" if len(images) == 1 else f"{len(images)} images"
        size = "x".join(map(str, images.shape[1:]))
        raise Unfit(f"it does not take {count} of {size}: {_text(error)}") from error
    if breach := output_breach(logits, len(images)):
        raise Unfit(breach)
    logits64: Tensor = logits.double()
    return logits64


def output_breach(logits: object, count: int) -> str | None:
    """Return how a model's output for `count` images differs from logits (N, K >= 2); None if it does not."""
    if hasattr(logits, "logits"):
        return f"it returns a {type(logits).__name__}; return its .logits"
    if not isinstance(logits, Tensor):
        return f"it must return a tensor of logits (N, K), got a {type(logits).__name__}"
    if not logits.is_floating_point():
        return f"it must return logits as floats, got {logits.dtype}"
    if logits.layout != torch.strided:
        return f"it must return a dense tensor of logits, got {logits.layout}"
    if logits.ndim == 1 and count == 1:
        return f"it returns {tuple(logits.shape)} for one image; keep the dimension of the batch, do not squeeze it"
    if logits.ndim != 2 or logits.shape[0] != count:
        return f"it must return logits ({count}, K) for {count} images, got {tuple(logits.shape)}"
    if logits.shape[1] < 2:
        return "it returns one logit; attacks need one for each class: return torch.cat([-z, z], 1)"
    return None


def _gradient(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits, and the gradient (N, C, H, W) of the lead of each image's class over the next."""
    with torch.enable_grad():
        x = images.clone().requires_grad_()
        logits = _logits(model, x.clone())
        first, second = logits.topk(2, dim=1).values.unbind(1)
        try:
            (gradient,) = torch.autograd.grad((first - second).sum(), x)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            remedy = "it must not detach them or run under torch.no_grad"
            raise Unfit(f"its logits have no gradient ({_text(error)}); {remedy}") from error
    return logits.detach(), gradient


def _gradient_warnings(model: nn.Module, images: Tensor, expected: Tensor | None = None) -> Iterator[str]:
    """Yield what is suspicious about the gradients; the logits with them should be those without, `expected`."""
    logits, gradient = _gradient(model, images)
    if expected is not None and differ(logits, expected):
        raise Unfit("it returns other logits when gradients are taken than without them; it must not depend on that")
    broken = int((~gradient.isfinite().flatten(1).all(1)).sum())
    if broken:
        yield f"its gradient is not finite on {broken} of {len(images)} images; look for a root or a logarithm of 0"
    border = (images == 0) | (images == 1)
    _, inside = _gradient(model, images.clamp(INSIDE, 1 - INSIDE))
    seen = border & (inside != 0)
    masked = seen & (gradient == 0)
    zero = int((gradient == 0).flatten(1).all(1).sum())
    if masked.sum() > 0.5 * seen.sum():
        yield "pixels at exactly 0 or 1 have no gradient, those a hair inside have one: do not clamp the input"
    elif zero:
        yield f"its gradient is zero on {zero} of {len(images)} images, as after rounding or a saturated softmax"


def _probability_warnings(logits: Tensor) -> Iterator[str]:
    """Yield a warning if the logits look like probabilities."""
    if seem_probabilities(logits):
        yield (
            "it seems to return probabilities, which hide gradients and margins; return logits, "
            "or give outputs: probabilities, which takes their logarithm"
        )
    elif (logits >= 0).all() and (logits <= 1).all() and logits.max() > 0.5:
        yield (
            "all that it returns lies in [0, 1], as after a sigmoid, or for some classes of a softmax, which hides "
            "gradients and margins; return logits, or give outputs: probabilities after a softmax"
        )


def seem_probabilities(logits: Tensor) -> bool:
    """Return whether the rows of logits (N, K) are not negative and sum to 1."""
    return bool((logits >= 0).all() and ((logits.sum(1) - 1).abs() < ROUNDING).all())


def differ(logits: Tensor, others: Tensor) -> bool:
    """Return whether two tensors differ by more than rounding."""
    return bool((logits - others).abs().max() > ROUNDING * (others.abs().max() + 1e-6))


def _text(error: BaseException) -> str:
    """Return an exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
