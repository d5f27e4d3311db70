"""Small victims whose attacks are known in closed form, fail for certain, or would expose a careless attack.

All are seeded and in float32 unless said otherwise. Shapes: N images, K classes.
"""

import torch
from torch import Tensor, nn

from eadbench.attacks.criterion import margin


class Linear(nn.Module):
    """logits = W·x + b; W (K, C, H, W), b (K,)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, K)."""
        return x.flatten(1) @ self.weight.flatten(1).T + self.bias


class Constant(nn.Module):
    """The same logits (K,) for every image; the gradient is defined and zero."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, K)."""
        return self.logits + 0 * x.flatten(1).sum(1, keepdim=True)


class Poisoned(nn.Module):
    """`model`, but with broken logits or gradients for images whose first value is above 0.9.

    That value enters in no other way, so an attack has no reason to change it.

    Parameters
    ----------
    poison
        "nan", "inf" or "-inf": every logit; "one inf": the logit of class 1; "nan gradient": the gradient alone.
    """

    def __init__(self, model: nn.Module, poison: str) -> None:
        super().__init__()
        self.model, self.poison = model, poison

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, K)."""
        marked = x[:, 0, 0, :1] > 0.9
        unread = torch.ones_like(x[:1])
        unread[:, 0, 0, 0] = 0
        logits: Tensor = self.model(x * unread)
        if self.poison == "nan gradient":  # 0·√0: its value is 0, its derivative 0·∞
            zero = torch.where(marked, (x - x.detach()).flatten(1).sum(1, keepdim=True), 1)
            return logits + 0 * zero.sqrt()
        if self.poison == "nan":
            return logits * torch.where(marked, torch.nan, 1)  # a gradient of NaN too
        if self.poison == "one inf":
            return logits.masked_fill(marked & (torch.arange(logits.shape[1]) == 1), torch.inf)
        return logits.masked_fill(marked, float(self.poison))


class Watched(nn.Module):
    """A network of mixed modes and partly frozen parameters; records whether it runs in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.stem, self.norm, self.drop, self.head = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Dropout(0.5),
            nn.Linear(64, 4),
        )
        for parameter in self.parameters():
            parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator)
        self.norm.weight.requires_grad_(False)
        self.norm.eval()
        self.always_in_eval_mode = True

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, 4) of images (N, 1, 4, 4)."""
        self.always_in_eval_mode &= not any(module.training for module in self.modules())
        logits: Tensor = self.head(self.drop(self.norm(self.stem(x))).tanh().flatten(1))
        return logits


class Counting(nn.Module):
    """`model`; counts its forward passes and, by a hook on the logits, its backward passes, row by row."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forwards = self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, K)."""
        self.forwards += len(x)
        logits: Tensor = self.model(x)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)  # type: ignore[no-untyped-call]
        return logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def small_net() -> nn.Module:
    """A smooth classifier of images (N, 1, 4, 4) into four classes."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 4))
    for parameter in model.parameters():
        scale = 1.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.3
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return model


def small_images(count: int = 8) -> Tensor:
    """(N, 1, 4, 4) images, some of whose pixels are exactly 0 or 1."""
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    images[:, 0, 0, 0], images[:, 0, 3, 1] = 0, 1
    return images


def labels_to_attack(model: nn.Module, images: Tensor, *, targeted: bool) -> Tensor:
    """(N,) labels that no image satisfies yet: classes other than the predicted ones, or the predicted ones."""
    with torch.no_grad():
        logits = model(images)
    predicted: Tensor = logits.argmax(1)
    away = 1 + torch.arange(len(images)) % (logits.shape[1] - 1)
    return (predicted + away) % logits.shape[1] if targeted else predicted


def mirrored(plane: Linear, images: Tensor) -> Tensor:
    """(N, C, H, W) images of one class mirrored at the plane of two, on which both logits are equal."""
    with torch.no_grad():
        lead, weight = plane(images).diff(dim=1), plane.weight.diff(dim=0)
        twice: Tensor = 2 * lead.view(-1, 1, 1, 1) * weight / weight.square().sum()
        return (images - twice).clamp(0, 1)


HALF_SPACE_DISTANCES = {"l0": 3, "l1": 0.3, "l2": 0.5, "linf": 0.1}
"""By norm, how far the images of :func:`half_space` are from a success by default; their way stays inside [0, 1]."""


def half_space(norm: str, kappa: float, *, distance: float | None = None) -> tuple[Linear, Tensor, Tensor]:
    """Two classes divided by a plane, and four images of class 0 on 36 pixels away from 0 and 1.

    Let f = Z₁ - Z₀ = w·x + b, where Z₀ = -Z₁, so that either logit tells the way. The least distance from x₀ to an
    image with f = κ is (κ - f(x₀)) / ‖w‖, by the dual norm: ‖w‖∞ for L1, ‖w‖₂ for L2, ‖w‖₁ for L∞. It is about
    `distance`. In L0 the least number of values is that of the greatest gains |wᵢ|·(distance to 0 or 1) that are enough
    together.

    Returns
    -------
    tuple
        The model, the images (4, 1, 6, 6), and their least distances (4,).
    """
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(1, 6, 6, generator=generator)
    weight[0, 3, 2] = -4
    order = {"l1": torch.inf, "l2": 2.0, "linf": 1.0}.get(norm)
    distance = distance or HALF_SPACE_DISTANCES[norm]
    if order is None:  # half of each greatest slope, for images at half the way from 0 to 1
        lead = weight.abs().flatten().topk(int(distance)).values.sum() / 2 - weight.abs().max() / 8
    else:
        lead = distance * torch.linalg.vector_norm(weight, ord=order)
    scale = max(1.0, 2 * kappa / lead.item())  # so that f(x₀) is negative whatever κ
    weight, lead = scale * weight, scale * lead

    images = 0.5 + 0.02 * (torch.rand(4, 1, 6, 6, generator=generator) - 0.5)
    steps = lead * torch.tensor([-0.1, 0, 0.1, 0.2])
    images -= steps[:, None, None, None] * weight / weight.square().sum()
    bias = kappa - lead - 0.5 * weight.sum()
    model = Linear(torch.stack([-weight, weight]) / 2, torch.stack([-bias, bias]) / 2)
    with torch.no_grad():
        f = margin(model(images), torch.ones(4, dtype=torch.int64), targeted=True)
    if order is None:
        gains = (weight.abs() * torch.where(weight > 0, 1 - images, images)).flatten(1).sort(1, descending=True).values
        return model, images, 1 + (gains.cumsum(1) < (kappa - f)[:, None]).sum(1)
    return model, images, (kappa - f) / torch.linalg.vector_norm(weight, ord=order)
