"""Train and evaluate a classifier.

Shape letters: N images, B images of a batch, C channels, H rows, W columns, K classes.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from eadbench.models.averaging import Kept
from eadbench.models.checkpoint import Checkpoint
from eadbench.models.hyperparameters import Training
from eadbench.models.memory_format import memory_format
from eadbench.models.schedules import optimizer_of, schedule_of
from eadbench.models.training_data import augmented, smoothed, split

__all__ = ["Diverged", "accuracy", "predictions", "seeded", "train"]

Loss = Callable[[Tensor, Tensor], Tensor]
Perturb = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""The model, a batch's images and its labels to other images."""
Objective = Callable[[nn.Module, Tensor, Tensor, Loss], Tensor]


class Diverged(ValueError):
    """A training whose loss or weights became infinite or NaN. Its network would look robust: nothing fools it."""

    def __init__(self, symptom: str, epoch: int, training: Training) -> None:
        super().__init__(
            f"the training diverged: {symptom} in epoch {epoch + 1} of {training.epochs}; "
            f"give a lower training.learning_rate than {training.learning_rate:g}"
        )


def train(
    model: nn.Module,
    data: Dataset[Any],
    training: Training,
    *,
    loss: Loss = functional.cross_entropy,
    perturb: Perturb | None = None,
    objective: Objective | None = None,
    attack: Perturb | None = None,
    device: str | torch.device = "cpu",
    on_batch: Callable[[int, int, float], None] | None = None,
    on_epoch: Callable[[Sequence[float]], None] | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Train a model in place, and leave it on `device` in eval mode.

    The same model, data and `training` give the same weights bit for bit on the same kind of device with
    the same number of threads. The caller's random state is not changed.

    Parameters
    ----------
    model
        Maps images (B, C, H, W) in [0, 1] to logits (B, K).
    data
        Pairs of an image (C, H, W) and a label: an int, or anything that `loss` takes once batched.
    loss
        Maps logits (B, K) and batched labels to a scalar.
    perturb
        Maps the model, a batch's images and its labels to the images to train on instead.
    objective
        Maps the model, a batch's images, its labels and `loss` to the scalar to descend; unless given, `loss` of the
        model's logits and the labels.
    attack
        Maps the model, held-out images and their labels to attacked images. If given, the best epoch is that of the
        most held-out images that are correct both before and after it. It draws the same random numbers each epoch.
    on_batch
        Called after each batch with the number of images done, the number in all, and the batch's loss.
    on_epoch
        Called after each epoch, if images are held out, with the share of them that were correct after each epoch.
    checkpoint
        File of the training's state after each epoch. If it holds the state of the same training, continue from there,
        to the same weights. It is deleted when the training ends.

    Raises
    ------
    Diverged
        A batch's loss, or a weight at the end, is not finite.
    """
    device = torch.device(device)
    generator = torch.Generator().manual_seed(training.seed)
    layout = memory_format(model.to(device), data[0][0].shape)
    model.to(memory_format=layout)
    data, held_out = split(data, training)
    # One image alone has no statistics for batch normalisation, so drop a last batch of one.
    drop_last = len(data) % training.batch_size == 1 and len(data) > 1  # type: ignore[arg-type]
    loader = DataLoader(
        augmented(data, training),
        batch_size=training.batch_size,
        shuffle=True,
        drop_last=drop_last,
        generator=generator,
    )
    loss_of = _plain if objective is None else objective

    def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(logits, smoothed(labels, logits.shape[1], training.label_smoothing))

    optimizer = optimizer_of(model, training)
    schedule = schedule_of(optimizer, training, len(loader))
    kept = Kept(model, training)
    images_per_epoch = len(data) - drop_last  # type: ignore[arg-type]
    state = Checkpoint(checkpoint, training, model, kept, optimizer, schedule, generator, device)
    model.train()
    with seeded(training.seed, device), _deterministic_convolutions():
        epochs_done = state.read()
        images_done = epochs_done * images_per_epoch
        for epoch in range(epochs_done, training.epochs):
            for images, labels in loader:
                images, labels = images.to(device, memory_format=layout), labels.to(device)
                if perturb is not None:
                    images = perturb(model, images, labels)
                batch_loss = loss_of(model, images, labels, task_loss)
                if not batch_loss.isfinite():
                    raise Diverged(f"the loss of a batch is {batch_loss.item()}", epoch, training)
                optimizer.zero_grad()
                batch_loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                kept.after_step(model)
                images_done += len(images)
                if on_batch is not None:
                    on_batch(images_done, training.epochs * images_per_epoch, batch_loss.item())
            if held_out is not None:
                with seeded(training.seed, device):
                    correct = _correct(kept.latest(model), held_out, device, attack)
                done = kept.after_epoch(model, epoch, correct)
                model.train()
                if on_epoch is not None:
                    on_epoch(kept.shares(epoch, len(held_out)))  # type: ignore[arg-type]
                if done:
                    break
            if epoch + 1 < training.epochs:
                state.write(epoch + 1)
    state.remove()
    kept.load_into(model)
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise Diverged(f"the weights {name} are not finite", training.epochs - 1, training)
    model.zero_grad()
    model.to(memory_format=torch.contiguous_format)
    model.eval()


def predictions(
    model: nn.Module, data: Dataset[Any], *, batch_size: int = 512, device: str | torch.device = "cpu"
) -> Tensor:
    """Return the predicted class of each image, int64 (N,) on the CPU, and leave the model in eval mode.

    An image whose logits are not all finite has the class -1.
    """
    return _predictions_and_labels(model, data, batch_size, device)[0]


def accuracy(
    model: nn.Module, data: Dataset[Any], *, batch_size: int = 512, device: str | torch.device = "cpu"
) -> float:
    """Return the share of images that are classified correctly, in [0, 1], and leave the model in eval mode."""
    predicted, labels = _predictions_and_labels(model, data, batch_size, device)
    return (predicted == labels).double().mean().item()


@contextlib.contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Seed torch's random state of the CPU and of `device`, and restore it on leaving."""
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for cuda in devices:  # torch.manual_seed would also seed every other device
            with torch.cuda.device(cuda):
                torch.cuda.manual_seed(seed)
        yield


def _predictions_and_labels(
    model: nn.Module,
    data: Dataset[Any],
    batch_size: int,
    device: str | torch.device,
    perturb: Perturb | None = None,
) -> tuple[Tensor, Tensor]:
    # Without its own generator even an unshuffled loader draws from the global random state.
    loader = DataLoader(data, batch_size=batch_size, generator=torch.Generator())
    model.to(device).eval()
    batches = []
    for images, labels in loader:
        x = images.to(device) if perturb is None else perturb(model, images.to(device), labels.to(device))
        with torch.inference_mode():
            batches.append((_classes(model(x)).cpu(), labels))
    return torch.cat([predicted for predicted, _ in batches]), torch.cat([labels for _, labels in batches])


def _classes(logits: Tensor) -> Tensor:
    """Return the class of each row of logits, -1 for a row that is not finite: NaN would count as class 0."""
    return logits.argmax(1).masked_fill(~logits.isfinite().all(1), -1)


def _correct(model: nn.Module, data: Dataset[Any], device: torch.device, attack: Perturb | None) -> int:
    """Return how many images are classified as their labels say, or as the most probable class of soft labels.

    With an attack, those that are so after it too.
    """
    correct = torch.tensor(True)
    for perturb in (None, attack) if attack else (None,):
        predicted, labels = _predictions_and_labels(model, data, 512, device, perturb)
        correct = correct & (predicted == (labels.argmax(1) if labels.is_floating_point() else labels))
    return int(correct.sum())


def _plain(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """The loss of the model's logits."""
    return loss(model(images), labels)


@contextlib.contextmanager
def _deterministic_convolutions() -> Iterator[None]:
    # Not torch.backends.cudnn.flags: it fails where the caller has set torch.backends.fp32_precision.
    cudnn = torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = flags
