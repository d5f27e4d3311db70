"""The hyperparameters of a training, as a spec gives them and a recipe's digest contains them."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from eadbench.models.initial import Init

__all__ = ["Training"]

_ALWAYS_WRITTEN = ("epochs", "batch_size", "learning_rate", "optimizer", "momentum", "weight_decay", "seed")
"""Fields that a recipe's digest contains even at their defaults."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained: gradient descent with a schedule of the learning rate.

    Parameters
    ----------
    epochs
        Passes over the training images.
    batch_size
        Images per step.
    learning_rate
        The peak of the learning rate.
    optimizer
        "adam", or "sgd" (with Nesterov momentum if `momentum` > 0).
    momentum
        Momentum of SGD, in [0, 1); Adam does not use it.
    weight_decay
        L2 penalty; decoupled (AdamW) with Adam.
    init
        "glorot": Glorot-uniform weights and zero biases, as Keras and so Carlini and Wagner have them; "torch": those
        that torch gives the network. Unless given, glorot for their networks, and torch for others.
    seed
        Seed of the initial weights, the order of the images, dropout, augmentation, and the choice of held-out images.
    nesterov
        Whether SGD's momentum is Nesterov's.
    schedule
        How the learning rate changes, step by step. "warm_up_cosine": it rises over the first tenth of the steps, times
        half a cosine down to 0; "cosine": half a cosine down to 0; "onecycle": from 1/25 of the peak up to it over the
        first 30 %, then down to 0, as in Smith and Topin (2018); "step": times `step_factor` after every `step_epochs`
        epochs; "constant".
    step_epochs
        Epochs between two decays of the schedule "step".
    step_factor
        Factor of each decay of the schedule "step", in (0, 1); 0.1 unless given.
    crop
        Augmentation: each image is padded by so many black pixels on every side, and cropped at random to its size.
    flip
        Augmentation: each image is mirrored left to right with probability 0.5.
    label_smoothing
        Share of a label's probability that is spread evenly over all classes, in [0, 1). A teacher's probabilities stay
        as they are.
    held_out
        Share of the training images, in [0, 1), that are not trained on. The weights after the epoch with the best
        accuracy on them are kept; with the defences pgd_training and trades, the best robust accuracy.
    patience
        Epochs without a better such accuracy on the held-out images, after which the training stops.
    ema
        Decay of an exponential moving average of the weights, in (0, 1), which is kept in their place. At step n it is
        at most (1 + n) / (10 + n), so that the initial weights are forgotten.

    Raises
    ------
    ValueError
        A field is out of its range, or has no effect without another.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    init: Init | None = None
    seed: int = 0
    nesterov: bool = True
    schedule: Literal["warm_up_cosine", "cosine", "onecycle", "step", "constant"] = "warm_up_cosine"
    step_epochs: int | None = None
    step_factor: float | None = None
    crop: int = 0
    flip: bool = False
    label_smoothing: float = 0.0
    held_out: float = 0.0
    patience: int | None = None
    ema: float | None = None

    def __post_init__(self) -> None:
        if self.schedule == "step" and self.step_factor is None:
            object.__setattr__(self, "step_factor", 0.1)
        for name in ("learning_rate", "momentum", "weight_decay", "step_factor", "label_smoothing", "held_out", "ema"):
            if getattr(self, name) is not None:  # 1 and 1.0 are one recipe
                object.__setattr__(self, name, float(getattr(self, name)))
        schedules = ("warm_up_cosine", "cosine", "onecycle", "step", "constant")
        checks = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "learning_rate": (0 < self.learning_rate < float("inf"), "above 0"),
            "optimizer": (self.optimizer in ("adam", "sgd"), '"adam" or "sgd"'),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "weight_decay": (0 <= self.weight_decay < float("inf"), "at least 0"),
            "init": (self.init in (None, "glorot", "torch"), '"glorot" or "torch"'),
            "seed": (0 <= self.seed < 2**63, "in 0..2^63 - 1"),
            "schedule": (self.schedule in schedules, f"one of {', '.join(schedules)}"),
            "step_epochs": (self.step_epochs is None or self.step_epochs >= 1, "at least 1"),
            "step_factor": (self.step_factor is None or 0 < self.step_factor < 1, "in (0, 1)"),
            "crop": (self.crop >= 0, "at least 0"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "in [0, 1)"),
            "held_out": (0 <= self.held_out < 1, "in [0, 1)"),
            "patience": (self.patience is None or self.patience >= 1, "at least 1"),
            "ema": (self.ema is None or 0 < self.ema < 1, "in (0, 1)"),
        }
        for name, (right, wanted) in checks.items():
            if not right:
                raise ValueError(f"training.{name} must be {wanted}, got {getattr(self, name)!r}")
        self._check_pairs()

    def _check_pairs(self) -> None:
        """Refuse a field that needs another."""
        if self.schedule == "step" and self.step_epochs is None:
            raise ValueError("training.step_epochs is missing: schedule step decays after every so many epochs")
        for name in ("step_epochs", "step_factor"):
            if self.schedule != "step" and getattr(self, name) is not None:
                raise ValueError(f"training.{name} is for schedule step, but schedule is {self.schedule}")
        if self.patience is not None and not self.held_out:
            raise ValueError("training.patience needs held_out, the share of images to test each epoch on, such as 0.1")

    def options(self) -> dict[str, Any]:
        """Return the fields from `nesterov` on that are not at their defaults."""
        options = [field for field in dataclasses.fields(self) if field.name not in (*_ALWAYS_WRITTEN, "init")]
        values = {field.name: getattr(self, field.name) for field in options}
        return {field.name: values[field.name] for field in options if values[field.name] != field.default}

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON types, without `init: torch` and without options at their defaults."""
        content = {name: getattr(self, name) for name in _ALWAYS_WRITTEN} | self.options()
        return content if self.init == "torch" else content | {"init": self.init}
