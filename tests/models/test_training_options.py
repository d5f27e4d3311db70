"""Options of a training: schedules, augmentation, label smoothing, held-out images and the moving average."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from eadbench import models
from eadbench.models import Training
from eadbench.models.schedules import optimizer_of, schedule_of

_draws = torch.Generator().manual_seed(0)
IMAGES, LABELS = torch.rand(40, 1, 4, 4, generator=_draws), torch.randint(3, (40,), generator=_draws)
DATA = TensorDataset(IMAGES, LABELS)


def network() -> nn.Module:
    with models.seeded(3):
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def trained(training: Training, data: Any = DATA, **options: Any) -> dict[str, Tensor]:
    model = network()
    models.train(model, data, training, **options)
    return weights(model)


def history(training: Training) -> tuple[dict[str, Tensor], list[dict[str, Tensor]], list[Tensor]]:
    """Return the final weights, the model's after each step, and the images of each step."""
    model, steps, batches = network(), [], []

    def perturb(_: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        batches.append(images.clone())
        return images

    models.train(model, DATA, training, perturb=perturb, on_batch=lambda *_: steps.append(weights(model)))
    return weights(model), steps, batches


def onecycle(step: int) -> float:
    """Smith and Topin's schedule over 20 steps, with cosines: the rise ends at step 0.3 · 20 - 1."""
    if step <= 5:
        return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * step / 5)) / 2
    end = 1 / 25 / 1e4
    return end + (1 - end) * (1 + math.cos(math.pi * (step - 5) / 14)) / 2


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({"schedule": "cosine"}, lambda step: (1 + math.cos(math.pi * step / 20)) / 2),
        ({"schedule": "onecycle"}, onecycle),
        ({"schedule": "step", "step_epochs": 2}, lambda step: 0.1 ** (step // 8)),
        ({"schedule": "step", "step_epochs": 1, "step_factor": 0.5}, lambda step: 0.5 ** (step // 4)),
        ({"schedule": "constant"}, lambda step: 1.0),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_schedule(options: dict[str, Any], factor: Callable[[int], float], optimizer: Any) -> None:
    """Five epochs of four steps."""
    training = Training(epochs=5, learning_rate=0.2, momentum=0.8, optimizer=optimizer, **options)
    stepped = optimizer_of(network(), training)
    schedule = schedule_of(stepped, training, 4)
    [group] = stepped.param_groups
    for step in range(20):
        assert group["lr"] == pytest.approx(0.2 * factor(step), rel=1e-9, abs=1e-12)
        assert optimizer == "adam" or group["momentum"] == 0.8
        stepped.step()
        schedule.step()


@pytest.mark.parametrize(("nesterov", "moved"), [(True, 1.9 + 2.71), (False, 1 + 1.9)])
def test_momentum_by_hand(nesterov: bool, moved: float) -> None:
    """The gradient is 1; momentum 0.9 makes the buffer 1, then 1.9."""

    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(2.0))

        def forward(self, images: Tensor) -> Tensor:
            return self.weight * images.flatten(1)

    model = Line()
    data = TensorDataset(torch.ones(2, 1, 1, 1), torch.zeros(2))
    training = Training(
        epochs=2, batch_size=2, learning_rate=0.1, optimizer="sgd", nesterov=nesterov, schedule="constant"
    )
    models.train(model, data, training, loss=lambda logits, _: logits.mean())
    assert model.weight.item() == pytest.approx(2 - 0.1 * moved, abs=1e-6)


def variants(image: Tensor, crop: int, flip: bool) -> list[Tensor]:
    """Return every crop of a padded image, and their mirror images."""
    padded = functional.pad(image, (crop,) * 4)
    offsets = range(2 * crop + 1)
    crops = [padded[:, top : top + 4, left : left + 4] for top in offsets for left in offsets]
    return crops + [crop.flip(-1) for crop in crops] * flip


@pytest.mark.parametrize(("crop", "flip"), [(1, False), (2, True), (0, True)])
def test_augmentation(crop: int, flip: bool) -> None:
    """Every image that is trained on is a variant of an image of the data set; each image has its own."""
    training = Training(epochs=6, batch_size=8, crop=crop, flip=flip)
    _, _, batches = history(training)
    every = [variants(image, crop, flip) for image in IMAGES]
    known = torch.stack([variant for variants in every for variant in variants]).flatten(1)
    seen = torch.cat(batches).flatten(1)
    matches = (seen[:, None] == known).all(2)
    assert matches.any(1).all()
    share = matches.any(0).double().mean()
    assert share > 0.9 * (1 - math.exp(-6 / len(every[0])))  # each image draws 6 of its variants, each from all
    again = history(training)[2]
    assert all(torch.equal(one, two) for one, two in zip(batches, again, strict=True))
    other = history(Training(epochs=6, batch_size=8, crop=crop, flip=flip, seed=1))[2]
    assert not torch.equal(seen, torch.cat(other).flatten(1))


def test_label_smoothing_is_torchs() -> None:
    plain = Training(epochs=2, batch_size=8)
    ours = trained(Training(epochs=2, batch_size=8, label_smoothing=0.3))
    theirs = trained(plain, loss=partial(functional.cross_entropy, label_smoothing=0.3))
    assert not torch.allclose(ours["4.weight"], trained(plain)["4.weight"], atol=1e-4)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-5, rtol=0)


def test_a_teachers_probabilities_are_not_smoothed() -> None:
    soft = TensorDataset(IMAGES, functional.softmax(torch.randn(40, 3, generator=_draws), 1))
    smoothed, plain = (trained(Training(epochs=1, label_smoothing=share), soft) for share in (0.3, 0.0))
    assert all(torch.equal(smoothed[name], plain[name]) for name in plain)


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_moving_average_by_hand(decay: float) -> None:
    final, steps, _ = history(Training(epochs=3, batch_size=8, learning_rate=1e-2, schedule="constant", ema=decay))
    average = {name: tensor.double() for name, tensor in steps[0].items()}
    for n, step in enumerate(steps[1:], start=1):
        share = 1 - min(decay, (1 + n) / (10 + n))
        for name, tensor in step.items():
            average[name] += share * (tensor.double() - average[name])
    assert not torch.allclose(final["4.weight"], steps[-1]["4.weight"], atol=1e-3)
    assert final["1.num_batches_tracked"] == 15
    for name in final.keys() - {"1.num_batches_tracked"}:
        torch.testing.assert_close(final[name].double(), average[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("soft", [False, True])
def test_held_out_images_choose_the_epoch(patience: int | None, soft: bool) -> None:
    """A noisy training without decay: its accuracy on the held-out images goes up and down."""
    model, epochs, seen = network(), [], set[int]()
    data = TensorDataset(IMAGES, functional.one_hot(LABELS, 3).float()) if soft else DATA

    def perturb(_: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        seen.update(int((image == IMAGES).flatten(1).all(1).nonzero()) for image in images)
        return images

    def on_batch(done: int, *_: object) -> None:
        if done % 30 == 0:
            epochs.append(weights(model))

    training = Training(
        epochs=12, batch_size=10, learning_rate=0.05, schedule="constant", held_out=0.25, patience=patience
    )
    models.train(model, data, training, perturb=perturb, on_batch=on_batch)
    held_out = sorted({*range(40)} - seen)
    assert len(held_out) == 10
    judge, correct = network(), []
    for epoch in epochs:
        judge.load_state_dict(epoch)
        correct.append(int((models.predictions(judge, DATA) == LABELS)[held_out].sum()))
    best = correct.index(max(correct))
    assert best < len(epochs) - 1 and (len(epochs) == 12 if patience is None else len(epochs) == best + 1 + patience)
    kept = weights(model)
    assert all(torch.equal(kept[name], epochs[best][name]) for name in kept)
    assert not model.training


def test_an_attack_on_held_out_images_chooses_the_epoch() -> None:
    """An attack that spoils all but a few images: its numbers go up and down, and its random numbers repeat."""
    model, epochs, noises = network(), list[dict[str, Tensor]](), list[float]()
    kept = iter([1, 4, 3, 4, 2])
    shares: list[float] = []

    def attack(attacked: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        assert not attacked.training
        noises.append(torch.rand(()).item())
        with torch.no_grad():
            right = (attacked(images).argmax(1) == labels).nonzero().squeeze(1)[: next(kept)]
        spoilt = torch.full_like(images, torch.nan)
        spoilt[right] = images[right]
        return spoilt

    def on_epoch(found: Sequence[float]) -> None:
        epochs.append(weights(model))
        shares[:] = found

    training = Training(epochs=5, batch_size=10, learning_rate=0.05, schedule="constant", held_out=0.5)
    models.train(model, DATA, training, attack=attack, on_epoch=on_epoch)
    assert shares == [1 / 20, 4 / 20, 3 / 20, 4 / 20, 2 / 20]
    assert len(set(noises)) == 1
    chosen = weights(model)
    assert all(torch.equal(chosen[name], epochs[1][name]) for name in chosen)
