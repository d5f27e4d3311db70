"""Practical Black-Box Attacks against Machine Learning (Papernot, McDaniel, Goodfellow, Jha, Celik, Swami; ASIA CCS
2017; arXiv 1602.02697).

Shapes: N images to attack, S images to learn from, C × H × W values of an image, K classes.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from eadbench.attacks.attack import BATCH_SIZE, Attack, traits_of
from eadbench.attacks.carlini_wagner import CarliniWagner
from eadbench.attacks.ead import EAD
from eadbench.attacks.engine.checks import check_choice, check_not_negative
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.inputs import ArgumentWarning
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.fgm import FGM
from eadbench.attacks.ifgm import IFGM
from eadbench.attacks.ifgm_variants import DIFGM, MIFGM, TIFGM
from eadbench.attacks.in_rounds import InRounds
from eadbench.attacks.universal import predicted

ON_SUBSTITUTE: Mapping[str, Callable[..., Attack]] = {
    "fgm": FGM,
    "ifgm": IFGM,
    "mi_fgm": MIFGM,
    "di_fgm": DIFGM,
    "ti_fgm": TIFGM,
    "cw": CarliniWagner,
    "ead": EAD,
}
"""The attacks that may craft on a substitute, by their names in a spec."""

LEARNING_RATE, BATCH = 1e-3, 128
"""Adam's learning rate, and the images of a batch, as in the authors' code."""


@dataclass(frozen=True, kw_only=True)
class Substitute(InRounds):
    """Train a substitute on the classes that the victim gives, attack it, and send what fools it to the victim.

    :meth:`learn` trains the substitute, and :meth:`adding` returns the attack on it. A sweep trains it once for a
    victim, from images of the training split, and keeps it beside the models. Their labels are not used: the
    substitute learns what the victim, the paper's oracle, says. An example is a success if it fools the victim.

    Parameters
    ----------
    attack : mapping
        The attack on the substitute: `name` is fgm, ifgm, mi_fgm, di_fgm, ti_fgm, cw or ead, and the rest are its
        hyperparameters, without `norm` and `targeted`. By default FGM at the paper's ε = 0.3. Its κ is a margin on the
        substitute.
    norm : "l1", "l2" or "linf"
        Norm of the attack on the substitute; its decision rule, if it has several.
    arch : "conv" or "dense"
        The substitute: two convolutions with max-pooling and two hidden layers of 200 units, or these layers alone.
    seeds : int
        Training images that the substitute learns from at first.
    augmentations : int
        Rounds of Jacobian-based augmentation. Each doubles the images, so that the victim answers `seeds` ·
        2^`augmentations` queries.
    step : float
        λ, the size of an augmentation's step.
    epochs : int
        Epochs of training before the first round, and after each.
    held_out : int
        Other training images, on which the agreement of substitute and victim is measured.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success on the victim; a tensor (N,) gives each example its own.
    seed : int
        Seed of the choice of training images, of the first weights, and of the order of batches.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "substitute"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "arch", "augmentations", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2", "linf")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 30.0  # a step of a fixed size, by another network's gradient
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"arch": "dense", "norm": "linf", "augmentations": 3, "epochs": 5}

    attack: Mapping[str, Any] = field(default_factory=lambda: {"name": "fgm", "epsilons": [0.3]})
    norm: Literal["l1", "l2", "linf"] = "linf"
    arch: Literal["conv", "dense"] = "conv"
    seeds: int = 150
    augmentations: int = 6
    step: float = 0.1
    epochs: int = 10
    held_out: int = 1000
    kappa: float | Tensor = 0.0
    seed: int = 0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_choice("arch", self.arch, tuple(ARCHITECTURES))
        check_not_negative("kappa", self.kappa)
        for name, least in (("seeds", 1), ("augmentations", 0), ("epochs", 1), ("held_out", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.step <= 1:
            raise ValueError(f"step must be in (0, 1], got {self.step}")
        attack_on_substitute(self.attack, self.norm, targeted=self.targeted)

    @property
    def images(self) -> int:
        """Training images that are taken: the seeds, and those held out."""
        return self.seeds + self.held_out

    @property
    def most_passes(self) -> int:
        """Two tests of what fools the substitute. What the substitute takes to learn is not an example's."""
        return 2

    def learn(self, model: nn.Module, images: Tensor, *, batch_size: int = BATCH_SIZE) -> Mapping[str, Tensor]:
        """Train a substitute by algorithm 1.

        Parameters
        ----------
        model : nn.Module
            The victim. Its classes are all that is seen of it.
        images : Tensor
            (S, C, H, W) in [0, 1]: the seeds, and then the images that are held out.

        Returns
        -------
        mapping of str to Tensor
            The weights by their names; `agreement`, the share of the images held out that substitute and victim give
            the same class, NaN if there are none; and `queries`, those that the victim answered.
        """
        known, held_out = images[: self.seeds], images[self.seeds : self.images]
        classes = predicted(model, known, batch_size)
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            torch.manual_seed(self.seed)
            substitute = ARCHITECTURES[self.arch](tuple(images.shape[1:]), classes_of(model, images)).to(images)
            self.fit(substitute, known, classes)
            for _ in range(self.augmentations):
                new = augmented(substitute, known, classes, self.step)
                known = torch.cat([known, new])
                classes = torch.cat([classes, predicted(model, new, batch_size)])
                self.fit(substitute, known, classes)
        same = predicted(substitute, held_out, batch_size) == predicted(model, held_out, batch_size)
        return {
            **{name: weight.detach() for name, weight in substitute.state_dict().items()},
            "agreement": same.double().mean(),
            "queries": torch.tensor(len(known)),
        }

    def fit(self, substitute: nn.Module, images: Tensor, classes: Tensor) -> None:
        """Train a substitute further, on images (S, C, H, W) and the victim's classes (S,)."""
        adam = torch.optim.Adam(substitute.parameters(), lr=LEARNING_RATE)
        for _ in range(self.epochs):
            for batch in torch.split(torch.randperm(len(images)).to(classes), BATCH):
                adam.zero_grad()
                functional.cross_entropy(substitute(images[batch]), classes[batch]).backward()  # type: ignore[no-untyped-call]
                adam.step()

    def adding(self, learnt: Mapping[str, Tensor]) -> "OnSubstitute":
        """The attack on a substitute that :meth:`learn` has trained."""
        made: Any = OnSubstitute
        weights = {name: values for name, values in learnt.items() if name not in ("agreement", "queries")}
        on_substitute: OnSubstitute = made(
            attack=self.attack,
            norm=self.norm,
            arch=self.arch,
            weights=weights,
            kappa=self.kappa,
            targeted=self.targeted,
        )
        return on_substitute

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Raise a ValueError: there is no substitute yet."""
        raise ValueError("a substitute is trained first: attack.adding(attack.learn(model, images))")


@dataclass(frozen=True, kw_only=True)
class OnSubstitute(InRounds):
    """Attack a given substitute, and test on the victim what fools it.

    Parameters
    ----------
    attack, norm, arch, kappa, targeted
        Those of :class:`Substitute`.
    weights
        The substitute's, by their names.
    """

    LABEL: ClassVar[str] = Substitute.LABEL
    NORMS: ClassVar[tuple[str, ...]] = Substitute.NORMS

    attack: Mapping[str, Any]
    norm: Literal["l1", "l2", "linf"]
    arch: Literal["conv", "dense"]
    weights: Mapping[str, Tensor]
    kappa: float | Tensor = 0.0
    targeted: bool = True

    @property
    def most_passes(self) -> int:
        """Two tests: before the image is claimed, and after."""
        return 2

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Attack the substitute, and test what fools it on the victim."""
        crafted = self.crafted(rounds.images, rounds.labels, batch_size)

        def send(rows: Tensor) -> Tensor:
            rounds.claim(rows, crafted[rows], rounds.test(rows, crafted[rows]).adversarial)
            return torch.ones_like(rows, dtype=torch.bool)

        return rounds.repeat(send, batch_size)

    def crafted(self, images: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        """(N, C, H, W) what fools the substitute; elsewhere the original images."""
        if not len(images):
            return images
        classes = len(self.weights["logits.bias"])
        substitute = ARCHITECTURES[self.arch](tuple(images.shape[1:]), classes).to(images)
        substitute.load_state_dict(self.weights)
        attack = attack_on_substitute(self.attack, self.norm, targeted=self.targeted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ArgumentWarning)  # a substitute may take an image for its target
            return attack(substitute, images, labels, batch_size=batch_size)[self.norm].images


def attack_on_substitute(entry: Mapping[str, Any], norm: str, *, targeted: bool) -> Attack:
    """Build the attack of an entry `{name: …, hyperparameter: …}`.

    Raises
    ------
    ValueError
        The attack is unknown, does not minimise the norm, or refuses a hyperparameter.
    """
    settings = {name: value for name, value in entry.items() if name != "name"}
    check_choice("attack.name", entry.get("name", ""), tuple(ON_SUBSTITUTE))
    chosen: Any = ON_SUBSTITUTE[entry["name"]]
    if norm not in traits_of(chosen).norms:
        raise ValueError(f"norm must be one that {entry['name']} minimises, {', '.join(chosen.NORMS)}, got {norm!r}")
    own = {"norm": norm} if "norm" in chosen.__dataclass_fields__ else {}
    try:
        attack: Attack = chosen(**settings, **own, targeted=targeted)
    except (TypeError, ValueError) as error:
        raise ValueError(f"attack: {error}") from error
    return attack


def classes_of(model: nn.Module, images: Tensor) -> int:
    """K, the classes of a model of images (S, C, H, W)."""
    with torch.no_grad(), frozen(model):
        return int(model(images[:1]).shape[1])


def augmented(substitute: nn.Module, images: Tensor, classes: Tensor, step: float) -> Tensor:
    """Move images (S, C, H, W) by λ · sign ∂Z_class/∂x, the Jacobian's row of the victim's class (S,)."""
    x = images.clone().requires_grad_()
    with frozen(substitute):
        own = substitute(x).gather(1, classes[:, None]).sum()
        (gradient,) = torch.autograd.grad(own, x)
    return (images + step * gradient.sign()).clamp(0, 1)


def dense(shape: Sequence[int], classes: int) -> nn.Module:
    """Two hidden layers of 200 units, for images of a `shape` (C, H, W)."""
    return _network([nn.Flatten()], shape[0] * shape[1] * shape[2], classes)


def conv(shape: Sequence[int], classes: int) -> nn.Module:
    """Two convolutions of 3 × 3 pixels to 32 and 64 channels, each max-pooled, and two hidden layers of 200 units."""
    layers: list[nn.Module] = []
    for before, after in ((shape[0], 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
    height, width = (-(-side // 4) for side in shape[1:])
    return _network([*layers, nn.Flatten()], 64 * height * width, classes)


def _network(layers: Sequence[nn.Module], values: int, classes: int) -> nn.Module:
    """Put two hidden layers and the logits behind layers that return `values` values of an image."""
    hidden = [nn.Linear(values, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU()]
    return nn.Sequential(OrderedDict(hidden=nn.Sequential(*layers, *hidden), logits=nn.Linear(200, classes)))


ARCHITECTURES: Mapping[str, Callable[[Sequence[int], int], nn.Module]] = {"conv": conv, "dense": dense}
"""Substitutes by their names: image's shape (C, H, W) and K to a network."""
