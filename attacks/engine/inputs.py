"""What an attack is given, checked and in the form that attacks compute with.

Shape letters: N images, K classes.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.checks import per_example
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.ledger import Ledger, Metered
from eadbench.attacks.engine.precision import LowerPrecision, exact_model
from eadbench.attacks.engine.probe import output_breach, probe, seem_probabilities
from eadbench.attacks.guarded import Guarded

__all__ = ["ArgumentWarning", "Call", "attacked"]

LOOKED_AT = 8
"""Images, spread over all, that the model is run on before an attack."""
ULPS = 4 * torch.finfo(torch.float32).eps
"""How far outside [0, 1] a value may be by rounding; it is clipped."""


class ArgumentWarning(UserWarning):
    """What an attack was given is suspicious. A sweep asks for the same in its probe of the victim."""


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
        logits = self.model(images if self.dtype is None else images.to(self.dtype))
        return logits.to(images.dtype) if isinstance(logits, Tensor) else logits  # other outputs are refused


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
    kappa : Tensor
        (N,) the margins of a success.
    victim : nn.Module
        The model without its ledger: the tests of what an attack returns are on no budget.
    guard : Guarded, optional
        The detector that the attack must pass too.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        kappa: Tensor,
        ledger: Ledger | None = None,
        guard: Guarded | None = None,
    ) -> None:
        self.victim, self.images, self.labels, self.kappa, self.ledger = model, images, labels, kappa, ledger
        self.guard = guard
        self.model = model if ledger is None else Metered(model, ledger)
        if ledger is not None:
            ledger.open(model, images, labels, kappa)

    def serve(
        self, examples: Tensor, counted: Tensor | None = None, *, among: Tensor | None = None, each: int = 1
    ) -> None:
        """Say which examples the rows of the next passes are: see :meth:`Ledger.serve`."""
        if self.ledger is not None:
            self.ledger.serve(examples, counted, among=among, each=each)

    def forget(self, examples: Tensor) -> None:
        """Say that the attack on some examples (n,) starts again."""
        if self.ledger is not None:
            self.ledger.forget(examples)

    @property
    def spent(self) -> Tensor:
        """(N,) bool: whether the budget of an example is spent."""
        return torch.zeros_like(self.labels, dtype=torch.bool) if self.ledger is None else self.ledger.spent


@contextmanager
def attacked(
    model: Any, images: Any, labels: Any, batch_size: int, *, targeted: bool, kappa: float | Tensor = 0.0
) -> Iterator[Call]:
    """Check the arguments of an attack, and yield them with the model frozen and without gradients.

    NumPy arrays become tensors. Half-precision images are attacked in float32, while their model computes in its own
    precision. The model runs once, on a few images, which is on no budget.

    Raises
    ------
    ValueError
        A batch size below 1, images that are not (N, C, H, W) floats in [0, 1], labels that are not (N,) classes, or a
        model that does not return finite logits (N, K) with gradients.

    Warns
    -----
    ArgumentWarning
        Most examples already have their target class, or the model seems to return probabilities.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    model, ledger = (model.model, model.ledger) if isinstance(model, Metered) else (model, None)
    model, guard = (model.victim, model) if isinstance(model, Guarded) else (model, None)
    if not isinstance(model, nn.Module):
        model = Called(model)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(frozen(model))
        stack.enter_context(torch.no_grad())
        images, labels = _tensor(images), _tensor(labels)
        _check(images, labels)
        labels = labels.long()
        try:
            model = _in_own_type(model, images)
            images = images.to(torch.promote_types(images.dtype, torch.float32)).clamp(0, 1)
            if len(images):
                model = _checked(model, images, labels, batch_size, targeted=targeted)
            yield Call(model, images, labels, per_example("kappa", kappa, images), ledger, guard)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            for reason in probe(model, images[:LOOKED_AT]).refusals:
                raise ValueError(f"the model cannot be attacked: {reason}") from error
            raise


def _in_own_type(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a model that takes float32 or float64 images, and is given them in half precision or in its weights' type.

    Where the images' type is not that of the weights, the model is tried on one image.
    """
    if images.dtype.itemsize < 4:
        return Called(model, images.dtype)
    weights = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), images.dtype)
    if weights == images.dtype or isinstance(model, LowerPrecision) or not len(images):
        return model
    try:
        model(images[:1].clone())
    except RuntimeError:
        return Called(model, weights)
    return model


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


def _checked(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int, *, targeted: bool) -> nn.Module:
    """Check what the model returns for a few images; return a model whose logits have the images' type."""
    count = min(LOOKED_AT, len(images), batch_size)
    rows = [index * len(images) // count for index in range(count)]
    try:
        logits = exact_model(model)(images[rows])
    except torch.OutOfMemoryError:
        if count == 1:
            raise
        return _checked(model, images, labels, 1, targeted=targeted)
    if breach := output_breach(logits, count):
        raise ValueError(f"the model must return logits (N, K >= 2): {breach}")
    if labels.amin() < 0 or labels.amax() >= logits.shape[1]:
        raise ValueError(f"labels must be in 0..{logits.shape[1] - 1}, got {labels.amin()}..{labels.amax()}")
    finite = logits.isfinite().all(1)
    if not finite.any():
        raise ValueError("the model's logits are not finite; check its weights")
    if logits.shape[1] > 2 and seem_probabilities(logits[finite]):  # two logits of one image may sum to 1 by chance
        _warn(
            "the model seems to return probabilities, whose gradients vanish and whose margins are at most 1; "
            "attacks need logits"
        )
    reached = int((logits.argmax(1) == labels[rows]).sum())
    if targeted and count > 1 and 2 * reached > count:
        which = "every image has" if reached == count == len(images) else f"each of {reached} among {count} images has"
        _warn(
            f"{which} its target class already, so that it succeeds unchanged; "
            "give targeted=False if the labels are the true classes"
        )
    return _in_type_of(images, model, logits)


def _warn(text: str) -> None:
    """Warn at the call of the attack."""
    warnings.warn(text, ArgumentWarning, stacklevel=6)


def _in_type_of(images: Tensor, model: nn.Module, logits: Tensor) -> nn.Module:
    """Return a model whose logits have the images' type, also where it is run in its own precision."""
    if logits.dtype == images.dtype:
        return model
    return LowerPrecision(Called(model.model), model.precision) if isinstance(model, LowerPrecision) else Called(model)
