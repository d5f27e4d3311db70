"""What an attack is given, checked and in the form that attacks compute with.

Shape letters: N images, K classes.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.precision import LowerPrecision, exact_model
from eadbench.attacks.engine.probe import output_breach, seem_probabilities

__all__ = ["Call", "attacked"]

ULPS = 4 * torch.finfo(torch.float32).eps
"""How far outside [0, 1] a value may be by rounding; it is clipped."""


class Called(nn.Module):
    """A model that is no module, or computes in another type than the search.

    Parameters
    ----------
    model
        Maps images to logits.
    dtype
        The type of its images; None for the type that they have.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K) in the type of the images, which is that of the search."""
        return self.model(images if self.dtype is None else images.to(self.dtype)).to(images.dtype)


class Call:
    """The model, images and labels of one call of an attack.

    Attributes
    ----------
    model : nn.Module
        Maps images to logits of their type.
    images : Tensor
        (N, C, H, W) in [0, 1], float32 or float64.
    labels : Tensor
        (N,) int64.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.model, self.images, self.labels = model, images, labels


@contextmanager
def attacked(model: Any, images: Any, labels: Any, batch_size: int, *, targeted: bool) -> Iterator[Call]:
    """Check the arguments of an attack, and yield them with the model frozen and without gradients.

    NumPy arrays become tensors. Half-precision images are attacked in float32, while their model computes in its own
    precision. The model runs once, on the first image.

    Raises
    ------
    ValueError
        A batch size below 1, images that are not (N, C, H, W) floats in [0, 1], labels that are not (N,) classes, or a
        model that does not return logits (N, K).

    Warns
    -----
    UserWarning
        Every example already has its target class, or the model seems to return probabilities.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not isinstance(model, nn.Module):
        model = Called(model)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(frozen(model))
        stack.enter_context(torch.no_grad())
        images, labels = _tensor(images), _tensor(labels)
        _check(images, labels)
        half = images.dtype if images.dtype.itemsize < 4 else None
        if half is not None:
            model, images = Called(model, half), images.float()
        if len(images):
            images = images.clamp(0, 1)
            logits, model = _checked(model, images, labels)
            if targeted and len(images) > 1 and logits.argmax() == labels[0]:
                _warn_if_reached(model, images, labels, batch_size)
        yield Call(model, images, labels.long())


def _tensor(values: Any) -> Tensor:
    """Return a tensor or a NumPy array as a tensor that gradients may be taken of."""
    tensor: Tensor = torch.as_tensor(values)
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _check(images: Tensor, labels: Tensor) -> None:
    """Check the types, shapes and ranges of images and labels."""
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be a float tensor (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
    if labels.shape != images.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be an integer tensor ({len(images)},), got {labels.dtype} {tuple(labels.shape)}")
    if len(images) and not (images.amin() >= -ULPS and images.amax() <= 1 + ULPS):
        raise ValueError(f"images must lie in [0, 1], got [{images.amin():.4g}, {images.amax():.4g}]")


def _checked(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, nn.Module]:
    """Check what the model returns for the first image; return it, and a model whose logits have the images' type."""
    logits = model(images[:1].clone())
    if breach := output_breach(logits, 1):
        raise ValueError(f"the model must return logits (1, K >= 2) for one image: {breach}")
    if labels.amin() < 0 or labels.amax() >= logits.shape[1]:
        raise ValueError(f"labels must be in 0..{logits.shape[1] - 1}, got {labels.amin()}..{labels.amax()}")
    if logits.shape[1] > 2 and seem_probabilities(logits):  # two logits of one image may sum to 1 by chance
        warnings.warn(
            "the model seems to return probabilities, whose gradients vanish and whose margins are at most 1; "
            "attacks need logits",
            stacklevel=5,
        )
    return logits, _in_type_of(images, model, logits)


def _in_type_of(images: Tensor, model: nn.Module, logits: Tensor) -> nn.Module:
    """Return a model whose logits have the images' type, also where it is run in its own precision."""
    if isinstance(model, LowerPrecision):
        own = model.model(images[:1].clone())
        return model if own.dtype == images.dtype else LowerPrecision(Called(model.model), model.precision)
    return model if logits.dtype == images.dtype else Called(model)


def _warn_if_reached(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> None:
    """Warn if every image has its target class: the labels may be meant as true classes."""
    batches = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
    exact = exact_model(model)
    if all(bool((exact(part).argmax(1) == targets).all()) for part, targets in batches):
        warnings.warn(
            "every image already has its target class, so every example succeeds unchanged; "
            "give targeted=False if the labels are the true classes",
            stacklevel=6,
        )
