"""An attack that keeps the contract, and others that each break one rule of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eadbench.attacks import Adversarial, Attack, AttackResult, confirmed, frozen
from eadbench.attacks.criterion import margin
from eadbench.attacks.engine.ledger import Metered

FIGURES = ("l0", "l1", "l2", "linf", "margin")


@dataclass(frozen=True, kw_only=True)
class Sound(Attack):
    """One step of size ε along the sign of the margin's gradient."""

    epsilon: float = 0.1
    targeted: bool = True

    @property
    def most_passes(self) -> int:
        return 3

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, /, *, batch_size: int = 128) -> AttackResult:
        with frozen(model):
            batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
            candidates = torch.cat([self.step(model, *batch) for batch in batches])
            kept = self.kept(model, images, labels, candidates, batch_size)
        passes = torch.ones_like(labels)
        return AttackResult(kept={"linf": kept}, iterations=passes, forward_passes=2 * passes, computed=len(images))

    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Candidates (B, C, H, W)."""
        return (images + self.epsilon * self.gradient(model, images, labels).sign()).clamp(0, 1)

    def gradient(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The gradient of the margin, (B, C, H, W)."""
        x = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            margins = margin(model(x), labels, targeted=self.targeted)
            (gradient,) = torch.autograd.grad(margins.sum(), x)
        return gradient

    def kept(
        self, model: nn.Module, images: Tensor, labels: Tensor, candidates: Tensor, batch_size: int
    ) -> Adversarial:
        """The candidates that succeed."""
        claimed, kappa = torch.ones_like(labels, dtype=torch.bool), torch.zeros(len(labels))
        return confirmed(
            model, images, labels, claimed, candidates, kappa=kappa, targeted=self.targeted, batch_size=batch_size
        )


class BlackImages(Sound):
    """Returns black images for failures."""

    def kept(self, *given: Any) -> Adversarial:
        kept = super().kept(*given)
        return replace(kept, images=kept.images * kept.success[:, None, None, None])


class ZeroDistances(Sound):
    def kept(self, *given: Any) -> Adversarial:
        kept = super().kept(*given)
        return replace(kept, l1=kept.l1.nan_to_num(0))


class WritesToImages(Sound):
    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, /, *, batch_size: int = 128) -> AttackResult:
        result = super().__call__(model, images, labels, batch_size=batch_size)
        images.mul_(0.9)
        return result


class SharesMemory(Sound):
    """Returns the very images that it was given, as failures."""

    def kept(self, model: nn.Module, images: Tensor, *given: Any) -> Adversarial:
        kept = super().kept(model, images, *given)
        nan = torch.full_like(kept.l1, torch.nan)
        figures = dict.fromkeys(FIGURES, nan)
        return replace(kept, images=images, success=torch.zeros_like(kept.success), **figures)


class LeavesTrainMode(Sound):
    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, /, *, batch_size: int = 128) -> AttackResult:
        result = super().__call__(model, images, labels, batch_size=batch_size)
        model.train()
        return result


class AttacksInTrainMode(Sound):
    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        model.train()
        candidates = super().step(model, images, labels)
        model.eval()
        return candidates


class ClearsGradients(Sound):
    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, /, *, batch_size: int = 128) -> AttackResult:
        model.zero_grad()
        return super().__call__(model, images, labels, batch_size=batch_size)


class LeavesTheBox(Sound):
    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        candidates = super().step(model, images, labels)
        return torch.where((candidates == 0) | (candidates == 1), 2 * candidates - 0.5, candidates)


class CountsTooFew(Sound):
    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, /, *, batch_size: int = 128) -> AttackResult:
        result = super().__call__(model, images, labels, batch_size=batch_size)
        return replace(result, forward_passes=result.forward_passes - 2)


class ExceedsItsBound(Sound):
    @property
    def most_passes(self) -> int:
        return 2


class QueriesBehindItsBudget(Sound):
    """Asks the victim itself, where its passes are not counted."""

    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        if isinstance(model, Metered):
            for _ in range(60):
                model.model(images)
        return super().step(model, images, labels)


class DependsOnTheBatch(Sound):
    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return images + (super().step(model, images, labels) - images) / len(images)


class Random(Sound):
    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return (super().step(model, images, labels) + 0.01 * torch.rand_like(images)).clamp(0, 1)


class LiesAboutDistances(Sound):
    def kept(self, *given: Any) -> Adversarial:
        kept = super().kept(*given)
        return replace(kept, l2=kept.l2 / 2)


class ClaimsNearMisses(Sound):
    def kept(
        self, model: nn.Module, images: Tensor, labels: Tensor, candidates: Tensor, batch_size: int
    ) -> Adversarial:
        kept = super().kept(model, images, labels, candidates, batch_size)
        with torch.no_grad():
            margins = margin(model(candidates), labels, targeted=self.targeted)
        near = ~kept.success & (margins > -0.4)
        delta = (candidates - images).flatten(1)
        figures = {
            "l0": (delta != 0).sum(1).float(),
            "l1": delta.abs().sum(1),
            "l2": delta.norm(dim=1),
            "linf": delta.abs().amax(1),
            "margin": margins,
        }
        return replace(
            kept,
            success=kept.success | near,
            images=torch.where(near[:, None, None, None], candidates, kept.images),
            **{name: torch.where(near, values, getattr(kept, name)) for name, values in figures.items()},
        )


class NaNImages(Sound):
    """Steps along the gradient's direction, NaN included, and returns where that leads."""

    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        gradient = self.gradient(model, images, labels)
        return (images + self.epsilon * (gradient.sign() + 0 * gradient)).clamp(0, 1)

    def kept(
        self, model: nn.Module, images: Tensor, labels: Tensor, candidates: Tensor, batch_size: int
    ) -> Adversarial:
        kept = super().kept(model, images, labels, candidates, batch_size)
        return replace(kept, images=torch.where(candidates.isnan(), candidates, kept.images))


class StopsAtNaN(Sound):
    def gradient(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        gradient = super().gradient(model, images, labels)
        if gradient.isnan().any():
            raise RuntimeError("the gradient\nis NaN")
        return gradient


class ClaimsWithoutGradient(Sound):
    """Reports an unmoved image as a success."""

    def kept(self, model: nn.Module, images: Tensor, *given: Any) -> Adversarial:
        kept = super().kept(model, images, *given)
        unmoved = (given[1] == images).flatten(1).all(1)
        zeros = {name: getattr(kept, name).masked_fill(unmoved, 0) for name in FIGURES}
        return replace(kept, success=kept.success | unmoved, **zeros)


class SkipsSolvedImages(Sound):
    """Counts an image that needs no attack as a failure."""

    def kept(self, model: nn.Module, images: Tensor, labels: Tensor, *given: Any) -> Adversarial:
        kept = super().kept(model, images, labels, *given)
        with torch.no_grad():
            solved = margin(model(images), labels, targeted=self.targeted) > 0
        return replace(
            kept,
            success=kept.success & ~solved,
            images=torch.where(solved[:, None, None, None], images, kept.images),
            **{name: getattr(kept, name).masked_fill(solved, torch.nan) for name in FIGURES},
        )


class AlwaysTargeted(Sound):
    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return Sound(epsilon=self.epsilon, targeted=True).step(model, images, labels)


class AcceptsAnyMode(Sound):
    UNTARGETED = False


class OtherRules(Sound):
    RULES = ("l1", "l2")


class StopsWithoutImages(Sound):
    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        assert len(images), "no images"
        return super().step(model, images, labels)


class FarFromTheLeast(Sound):
    NORMS = ("linf",)
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"epsilon": 0.15}


class BelowTheLeast(FarFromTheLeast):
    TOLERANCE = 1.0

    def kept(self, *given: Any) -> Adversarial:
        kept = super().kept(*given)
        return replace(kept, linf=kept.linf / 2)


@dataclass(frozen=True, kw_only=True)
class OneKappaForAll(Sound):
    kappa: float | Tensor = 0.0

    def kept(self, *given: Any) -> Adversarial:
        float(self.kappa)
        return super().kept(*given)


@dataclass(frozen=True, kw_only=True)
class IgnoresKappa(Sound):
    kappa: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Undeclared(Sound):
    AXES = ("epsilonn",)


RULES: Mapping[type, set[str]] = {
    BlackImages: {"failed rows carry nothing"},
    ZeroDistances: {"failed rows carry nothing"},
    WritesToImages: {"leaves inputs untouched"},
    SharesMemory: {"leaves inputs untouched", "works in its modes", "solved images are successes"},
    LeavesTrainMode: {"restores the model"},
    AttacksInTrainMode: {"attacks in eval mode", "restores the model"},
    ClearsGradients: {"leaves parameter gradients alone"},
    LeavesTheBox: {"stays in the box"},
    CountsTooFew: {"counts its passes"},
    ExceedsItsBound: {"stays within most passes"},
    QueriesBehindItsBudget: {"stays within a budget"},
    DependsOnTheBatch: {"rows do not depend on the batch"},
    Random: {"repeats itself", "rows do not depend on the batch"},
    LiesAboutDistances: {"distances are the images"},
    ClaimsNearMisses: {"successes hold"},
    NaNImages: {"nan logits give failed rows"},
    StopsAtNaN: {"nan logits give failed rows"},
    ClaimsWithoutGradient: {"nan logits give failed rows", "zero gradients give failed rows", "successes hold"},
    SkipsSolvedImages: {"solved images are successes"},
    AlwaysTargeted: {"works in its modes"},
    AcceptsAnyMode: {"refuses other modes"},
    OtherRules: {"returns an entry per rule"},
    StopsWithoutImages: {"accepts an empty batch"},
    FarFromTheLeast: {"half space distances are near the least"},
    BelowTheLeast: {"half space distances are near the least", "distances are the images"},
    OneKappaForAll: {"beta and kappa may differ by row", "kappa is the least margin"},
    IgnoresKappa: {"kappa is the least margin"},
    Undeclared: {"declares the protocol"},
}
"""Each broken attack, and the checks that it fails."""
