"""Attacks by attackbenchlib 2.0.2: its count of passes, its budget, and the least distance that it saw.

attackbenchlib imports wandb, which is not needed here: an empty module stands in unless it is installed.
"""

import contextlib
import io
import sys
import types
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.contenders import NORMS, Contender

with contextlib.suppress(ModuleNotFoundError):
    import wandb  # noqa: F401
if "wandb" not in sys.modules:
    stub = types.ModuleType("wandb")
    stub.__getattr__ = lambda name: None  # type: ignore[method-assign]
    sys.modules["wandb"] = stub

import attackbench
from attackbench.adv_lib_sub import _default_metrics
from attackbench.models.benchmodel_wrapper import BenchModel

__all__ = ["Counted", "check_gradients", "run"]

GRACE = 10
"""Forward passes without a budget, of which attackbenchlib makes up the logits, before an attack is ended."""


class Spent(Exception):
    """The budget was spent some time ago."""


class Counted(BenchModel):  # type: ignore[misc]
    """attackbenchlib's wrapper of a victim, with a clamp that does not mask gradients.

    Its own clamp has, from torch 2.15 on, a gradient of 0 at its bounds, where most pixels of MNIST are.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, enforce_box=False)
        self.late = 0

    def start_tracking(self, *arguments: Any, **options: Any) -> None:
        """Begin with another image."""
        self.late = 0
        super().start_tracking(*arguments, **options)

    def forward(self, images: Tensor) -> Any:
        """Return the logits of the images, clamped to the box as if by the identity."""
        if self._benchmark_mode and self.is_out_of_query_budget:
            self.late += 1
            if self.late > GRACE:
                raise Spent
        return super().forward(images + (images.clamp(0, 1) - images).detach())


def check_gradients(counted: Counted, images: Tensor) -> None:
    """Refuse a wrapper whose gradient is not the bare model's, on images with values at 0 and 1."""
    gradients = []
    for model in (counted, counted.model):
        leaf = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(leaf).logsumexp(1).sum(), leaf)
        gradients.append(gradient)
    if not torch.equal(*gradients):
        raise RuntimeError("the gradient through the counting wrapper is not the bare model's")


def run(
    counted: Counted, image: Tensor, label: Tensor, attack: Contender, norm: str, budget: int, *, target: Tensor | None
) -> dict[str, Any]:
    """Attack one image (1, C, H, W); return what attackbenchlib measured. An attack that raises has an `error`.

    Parameters
    ----------
    label
        (1,): the true class.
    target
        (1,): the class to reach; None if untargeted.
    """
    errors: list[str] = []

    def noting_errors(model: nn.Module, images: Tensor, labels: Tensor, targeted: bool) -> Tensor:
        try:
            return attack(model, images, labels, targeted)
        except Exception as error:
            errors.extend([] if isinstance(error, Spent) else [f"{type(error).__name__}: {error}"])
            raise

    counted.num_max_propagations = budget
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        if target is None:
            result = _untargeted(counted, image, label, noting_errors, norm, budget)
        else:
            result = _targeted(counted, image, label, noting_errors, norm, target)
    return result | {"error": "; ".join(errors)}


def _untargeted(
    counted: Counted, image: Tensor, label: Tensor, attack: Contender, norm: str, budget: int
) -> dict[str, Any]:
    """Return the result of attackbenchlib's `run_attack`."""

    def as_called(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return attack(model, inputs, labels, False)

    loader = DataLoader(TensorDataset(image, label), batch_size=1)
    result = attackbench.run_attack(
        counted, loader, as_called, norm, torch.device("cpu"), query_budget=budget, attack_name="attack"
    )
    return {
        **{name: result["distances"][name][0] for name in NORMS},
        "final": result["final_distances"][norm][0],
        "forwards": result["num_forwards"][0],
        "backwards": result["num_backwards"][0],
        "seconds": result["times"][0],
        "outside": result["box_failures"][0],
    }


def _targeted(
    counted: Counted, image: Tensor, label: Tensor, attack: Contender, norm: str, target: Tensor
) -> dict[str, Any]:
    """Return what `run_attack` would, which attacks without targets only, from the same wrapper and distances."""
    torch.manual_seed(42)  # the seed of `run_attack`
    counted.start_tracking(
        image, label, targeted=True, targets=target, tracking_metric=_default_metrics[norm], tracking_threat_model=norm
    )
    try:
        last = attack(counted, image.clone(), target.clone(), True).detach()
    except Exception:  # noted, as `run_attack` does
        last = image
    counted.end_tracking()
    outside = bool(((last < 0) | (last > 1)).any())
    last = last.clamp(0, 1)
    reached = bool(counted(last).argmax(1) == target)
    final = {name: metric(last, image).item() if reached else torch.inf for name, metric in _default_metrics.items()}
    return {
        **{name: min(final[name], counted.min_dist[name].item()) for name in NORMS},
        "final": final[norm],
        "forwards": counted.num_forwards.item(),
        "backwards": counted.num_backwards.item(),
        "seconds": counted.elapsed_time,
        "outside": outside,
    }
