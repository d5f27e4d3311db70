"""Small models and images on which an attack can be followed by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from eadbench.attacks.contract.victims import Constant, Linear, Poisoned

__all__ = [
    "Batch",
    "Brightness",
    "Constant",
    "Crowded",
    "Fickle",
    "Linear",
    "Poisoned",
    "Shifted",
    "Wavy",
    "examples",
    "linear",
    "smooth",
]

CLASSES = 4


def smooth(kind: str = "mlp", *, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A seeded nonlinear classifier of (N, C, 4, 4) into four classes: "mlp" (C = 1) or "cnn" (C = 3)."""
    generator = torch.Generator().manual_seed(3)
    layers: list[nn.Module]
    if kind == "mlp":
        layers = [nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, CLASSES)]
    else:
        layers = [nn.Conv2d(3, 6, 3), nn.Softplus(), nn.Flatten(), nn.Linear(24, CLASSES)]
    model = nn.Sequential(*layers).to(dtype)
    for parameter in model.parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        scale = 1.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.3
        parameter.data.copy_(scale * values)
    return model


@dataclass(frozen=True, kw_only=True)
class Batch:
    """N examples, each with its own β and κ."""

    images: Tensor
    labels: Tensor
    beta: Tensor
    kappa: Tensor

    def __getitem__(self, rows: Tensor) -> "Batch":
        return Batch(images=self.images[rows], labels=self.labels[rows], beta=self.beta[rows], kappa=self.kappa[rows])

    def rows(self, attack: Any, **fixed: float) -> Iterator[tuple[Tensor, int, dict[str, Any]]]:
        """Yield the image, the label and the attack's settings of each example as plain numbers; `fixed` overrides."""
        settings = {field.name: getattr(attack, field.name) for field in fields(attack)}
        for image, label, beta, kappa in zip(self.images, self.labels, self.beta, self.kappa, strict=True):
            yield image, int(label), settings | {"beta": beta.item(), "kappa": kappa.item()} | fixed


def examples(
    model: nn.Module, *, channels: int = 1, count: int = 8, targeted: bool = True, binary: bool = False
) -> Batch:
    """`count` seeded images, some of whose pixels (if `binary`, all) are exactly 0 or 1, with mixed β and κ.

    The label is some class other than the predicted one if `targeted`, else the predicted one.
    """
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(count, channels, 4, 4, generator=generator, dtype=torch.float64)
    images[:, 0, 0, 0], images[:, 0, 3, 1] = 0, 1
    images = images.round() if binary else images
    with torch.no_grad():
        predicted = model(images).argmax(1)
    away = 1 + torch.randint(CLASSES - 1, (count,), generator=generator)
    mix = torch.arange(count)
    return Batch(
        images=images,
        labels=(predicted + away) % CLASSES if targeted else predicted,
        beta=torch.tensor([1e-3, 0, 1e-2, 3e-2, 1e-4, 1e-3], dtype=torch.float64)[mix % 6],
        kappa=torch.tensor([0, 0.3, 0, 1, 0.1], dtype=torch.float64)[mix % 5],
    )


def linear(lead: float, *, dtype: torch.dtype = torch.float64) -> tuple[Linear, Tensor, Tensor]:
    """Return (model, x₀, w): three classes and a grey image (1, 3, 8, 8), with Z₁ - Z₀ = w·(x - x₀) - lead.

    Class 2 follows class 0, so far behind that it never takes part. The greatest |w| belongs to one pixel.
    """
    generator = torch.Generator().manual_seed(7)
    w = torch.randn(3, 8, 8, generator=generator, dtype=torch.float64)
    w[1, 4, 2] = -6.0
    image = torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64)
    bias = torch.stack([w.new_tensor(0), -(w * image[0]).sum() - lead, w.new_tensor(-50)])
    weight = torch.stack([torch.zeros_like(w), w, torch.zeros_like(w)])
    return Linear(weight.to(dtype), bias.to(dtype)), image.to(dtype), w


class Shifted(nn.Module):
    """Every logit of `model` plus `shift`."""

    def __init__(self, model: nn.Module, shift: float) -> None:
        super().__init__()
        self.model, self.shift = model, shift

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x) + self.shift
        return logits


class Wavy(nn.Module):
    """Two classes; class 1 leads where the image's mean is in one of several narrow bands."""

    def __init__(self, frequency: float = 60, height: float = 0.6) -> None:
        super().__init__()
        self.frequency, self.height = frequency, height

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.linspace(0.5, 1.5, x[0].numel(), dtype=x.dtype).reshape(x.shape[1:])
        wave = torch.sin(self.frequency * (x * weight).flatten(1).mean(1)) - self.height
        return torch.stack([torch.zeros_like(wave), wave], dim=1)


class Fickle(nn.Module):
    """`model`, whose logits are multiplied by `fading` after `faithful` calls; counts its calls."""

    def __init__(self, model: nn.Module, *, faithful: float = torch.inf, fading: float = 0) -> None:
        super().__init__()
        self.model, self.faithful, self.fading, self.calls = model, faithful, fading, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.model(x)
        return logits if self.calls <= self.faithful else self.fading * logits


class Brightness(nn.Module):
    """Class 1 leads by the sum of all values; its gradient is one number, expanded and not copied."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([total.new_full((len(x),), 0.6 * x[0].numel()), total], dim=1)


class Crowded(nn.Module):
    """`model` on a device whose memory holds `room` images at a time."""

    def __init__(self, model: nn.Module, room: int) -> None:
        super().__init__()
        self.model, self.room = model, room

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError(f"{len(x)} images, room for {self.room}")
        logits: Tensor = self.model(x)
        return logits
